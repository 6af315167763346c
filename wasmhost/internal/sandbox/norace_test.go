//go:build !race

package sandbox_test

const buildFactor = 1
