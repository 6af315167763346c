//go:build !race

package flowserver_test

// streams is how many are open at the same time.
const streams = 10_000
