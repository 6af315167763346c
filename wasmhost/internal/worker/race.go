//go:build race

package worker

// raceEnabled tells that the race detector is at work.
const raceEnabled = true

// slowdown makes room for it in the times of the watch: it multiplies what a slice takes.
const slowdown = 5
