//go:build !race

package sandbox_test

const buildFactor = 1

const raced = false
