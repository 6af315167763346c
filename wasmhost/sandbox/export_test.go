package sandbox

// BuildFactor is more than 1 under the race detector.
const BuildFactor = buildFactor
