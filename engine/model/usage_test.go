package model_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

func TestCountsAreNumbersAndKeepTheirDigits(t *testing.T) {
	const wire = `{"inputTokens":12,"outputTokens":3.0,"totalTokens":1e3,"inputImages":0,"outputImages":12345678901234567890,"thoughtsTokens":1e400,` +
		`"custom":{"cost":0.10,"calls":2,"none":0},"x":1}`
	var u model.Usage
	require.NoError(t, json.Unmarshal([]byte(wire), &u))
	assert.Equal(t, 12, u.InputTokens)
	assert.Equal(t, 3, u.OutputTokens)
	assert.Equal(t, 1000, u.TotalTokens)
	assert.Equal(t, 1012, u.InputTokens+u.TotalTokens, "a Go user adds them")
	assert.Positive(t, u.OutputImages)
	assert.Zero(t, u.ThoughtsTokens, "nonsense counts nothing")
	assert.InDelta(t, 0.1, u.Custom["cost"], 1e-9)
	raw, err := json.Marshal(u)
	require.NoError(t, err)
	for _, literal := range []string{`"outputTokens":3.0`, `"totalTokens":1e3`, `"inputImages":0`, `"outputImages":12345678901234567890`, `"thoughtsTokens":1e400`, `"cost":0.10`, `"none":0`, `"x":1`} {
		assert.Contains(t, string(raw), literal)
	}
	assert.NotContains(t, string(raw), "inputVideos", "what was not told is not written")

	c := u.Clone()
	c.TotalTokens, c.InputImages, c.Custom["cost"] = 7, 1, 2
	c.Tell("inputVideos", "0")
	c.Tell("custom.more", "1.50")
	c.Tell("nothing", "1")
	raw, err = json.Marshal(c)
	require.NoError(t, err)
	for _, literal := range []string{`"totalTokens":7`, `"inputImages":1`, `"cost":2`, `"inputVideos":0`, `"more":1.50`, `"outputTokens":3.0`} {
		assert.Contains(t, string(raw), literal)
	}
	assert.Equal(t, 1000, u.TotalTokens, "the copy is its own")
	n, told := u.Told("custom.cost")
	assert.Equal(t, json.Number("0.10"), n)
	assert.True(t, told)
	n, told = u.Told("inputTokens")
	assert.Equal(t, json.Number("12"), n)
	assert.True(t, told)
	for _, name := range []string{"inputVideos", "custom.nope", "nothing", "custom."} {
		_, told = u.Told(name)
		assert.False(t, told, name)
	}
	c.Tell("outputTokens", "4")
	n, _ = c.Told("outputTokens")
	assert.Equal(t, json.Number("4"), n, "what is told later replaces the literal")
	var none *model.Usage
	assert.Nil(t, none.Clone())
	_, told = none.Told("inputTokens")
	assert.False(t, told)
	require.Error(t, json.Unmarshal([]byte(`{"inputTokens":"many"}`), &u))
}

// Numbers of chunks and responses are Go numbers; their digits are kept until somebody
// changes them, and an index of 0 is not an absent one.
func TestIndexAndLatencyAreNumbersAndKeepTheirDigits(t *testing.T) {
	for wire, want := range map[string]int{
		`{"role":"model","index":2,"content":[]}`:   2,
		`{"role":"model","index":0,"content":[]}`:   0,
		`{"role":"model","index":3.0,"content":[]}`: 3,
		`{"index":1e400,"content":[]}`:              0,
		`{"content":[]}`:                            0,
	} {
		var c model.Chunk
		require.NoError(t, json.Unmarshal([]byte(wire), &c))
		assert.Equal(t, want, c.Index, wire)
		assert.Equal(t, strings.Contains(wire, "index"), c.HasIndex(), wire)
		raw, err := json.Marshal(c)
		require.NoError(t, err)
		assert.Equal(t, wire, string(raw))

		c.Index = 7
		raw, err = json.Marshal(c)
		require.NoError(t, err)
		assert.Contains(t, string(raw), `"index":7`, wire)
	}
	var c model.Chunk
	c.SetIndex(0)
	raw, err := json.Marshal(c)
	require.NoError(t, err)
	assert.Equal(t, `{"index":0,"content":[]}`, string(raw))
	require.Error(t, json.Unmarshal([]byte(`{"index":"first"}`), &c))

	for wire, want := range map[string]float64{
		`{"latencyMs":12.50}`: 12.5, `{"latencyMs":0}`: 0, `{"latencyMs":1e400}`: 0, `{"latencyMs":9007199254740993}`: 9007199254740992, `{}`: 0,
	} {
		var r model.Response
		require.NoError(t, json.Unmarshal([]byte(wire), &r))
		assert.InDelta(t, want, r.LatencyMS, 0, wire)
		raw, err := json.Marshal(r)
		require.NoError(t, err)
		assert.Equal(t, wire, string(raw))

		r.LatencyMS = 0.25
		raw, err = json.Marshal(r)
		require.NoError(t, err)
		assert.Equal(t, `{"latencyMs":0.25}`, string(raw), wire)
	}
	var r model.Response
	r.SetLatency(999 * time.Microsecond)
	raw, err = json.Marshal(r)
	require.NoError(t, err)
	assert.Equal(t, `{"latencyMs":0}`, string(raw))
}
