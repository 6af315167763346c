//go:build race

package compile

// buildFactor makes room for the race detector, which multiplies time and memory.
const buildFactor = 12
