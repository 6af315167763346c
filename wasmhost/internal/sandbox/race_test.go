//go:build race

package sandbox_test

// buildFactor makes room for the race detector, which multiplies time and memory.
const buildFactor = 12

const raced = true
