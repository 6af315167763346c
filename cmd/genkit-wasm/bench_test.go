package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func measuredCost(t *testing.T, args ...string) cost {
	t.Helper()
	got := cli(t, append([]string{"bench", "-o", "json"}, args...)...)
	require.Equal(t, exitOK, got.exit, got.err)
	var c cost
	require.NoError(t, json.Unmarshal([]byte(got.out), &c))
	return c
}

func TestBenchMeasuresFuel(t *testing.T) {
	short := measuredCost(t, calcFile, "add", "--input", `{"a":1,"b":2}`, "--count", "20")
	assert.Equal(t, []string{"calc", "calc/add"}, []string{short.Module, short.Tool})
	assert.Equal(t, []int{20, 13, 9}, []int{short.Calls, short.InputBytes, short.OutputBytes})
	assert.Positive(t, short.Fuel.Min)
	assert.Equal(t, short.Fuel.Min, short.Fuel.Max, "each call starts from the same state")
	assert.Positive(t, short.WallMicros.Min)
	assert.GreaterOrEqual(t, short.MemoryBytes, int64(64<<10))
	assert.Equal(t, short.Fuel, measuredCost(t, calcFile, "add", "--input", `{"a":1,"b":2}`, "--count", "1").Fuel, "and so does each process")
	assert.Greater(t, measuredCost(t, calcFile, "add", "--input", `{"a":123456789,"b":2}`, "--count", "1").Fuel.Min, short.Fuel.Max)

	shown := cli(t, "bench", conformanceFile, "interrupt", "--input", "{}", "--count", "3")
	assert.Equal(t, exitOK, shown.exit, shown.err)
	assert.Regexp(t, `^conformance/interrupt: 3 calls, 2 B in, .*\nfuel  median \d+, min \d+, max \d+\ntime  median .* µs, min .*\n$`, shown.out)
}

func TestBenchEndsWithTheCallThatFails(t *testing.T) {
	failed := cli(t, "bench", conformanceFile, "fail", "--input", "{}")
	assert.Equal(t, exitNotFound, failed.exit)
	assert.Empty(t, failed.out)
	for name, args := range map[string][]string{
		"no calls":         {calcFile, "add", "--count", "0"},
		"too many calls":   {calcFile, "add", "--count", "1000001"},
		"which tool":       {calcFile},
		"broken input":     {calcFile, "add", "--input", "{"},
		"a broken context": {calcFile, "add", "--context", "1"},
		"a missing file":   {"none.wasm"},
	} {
		assert.Equal(t, exitUsage, cli(t, append([]string{"bench"}, args...)...).exit, name)
	}
	assert.Equal(t, exitNotFound, cli(t, "bench", calcFile, "none").exit)
}

func TestSpreads(t *testing.T) {
	assert.Equal(t, spread[int]{1, 1, 1, 1}, spreadOf([]int{1}))
	values := make([]int, 100)
	for i := range values {
		values[i] = 100 - i
	}
	assert.Equal(t, spread[int]{1, 50, 95, 100}, spreadOf(values))
}
