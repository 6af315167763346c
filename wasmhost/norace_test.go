//go:build !race

package wasmhost_test

const raced = false
