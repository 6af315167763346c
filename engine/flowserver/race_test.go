//go:build race

package flowserver_test

// streams is fewer than it should be: the race detector knows 8128 goroutines.
const streams = 1000
