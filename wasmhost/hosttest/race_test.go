//go:build race

package hosttest_test

const raceDetector = true
