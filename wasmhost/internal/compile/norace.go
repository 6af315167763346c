//go:build !race

package compile

// buildFactor is 1 without the race detector; see race.go.
const buildFactor = 1
