//go:build !race

package worker

// raceEnabled tells that the race detector is at work.
const raceEnabled = false

const slowdown = 1
