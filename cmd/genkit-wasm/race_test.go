//go:build race

package main

// raced says that the race detector watches the tests, which makes compilers of modules several times slower.
const raced = true
