//go:build !race

package sandbox

const buildFactor = 1
