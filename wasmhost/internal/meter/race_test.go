//go:build race

package meter_test

// raced tells that the race detector is on, under which wazero compiles ten times as slowly; what loops over modules
// then takes fewer of them, since nothing in them is about goroutines.
const raced = true
