package usage_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

func TestMoneyIsExact(t *testing.T) {
	for text, want := range map[string]usage.Money{
		"0": 0, "12": 12_000_000, "0.25": 250_000, "0.000001": 1, "1000000000000": usage.MaxMoney, "007.10": 7_100_000,
	} {
		m, err := usage.ParseMoney(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, m, text)
		again, err := usage.ParseMoney(m.String())
		require.NoError(t, err, m.String())
		assert.Equal(t, m, again)
		var read struct{ A, B usage.Money }
		require.NoError(t, json.Unmarshal([]byte(`{"A":"`+m.String()+`","B":`+m.String()+`}`), &read))
		assert.Equal(t, m, read.A)
		assert.Equal(t, m, read.B)
	}
	for _, text := range []string{"", "-1", "+1", "1e3", "1.", ".5", "0.1234567", "1,5", "0x10", " 1", "1000000000000.000001", "99999999999999", "NaN"} {
		_, err := usage.ParseMoney(text)
		require.ErrorIs(t, err, status.ErrInvalidArgument, text)
	}
	assert.Equal(t, "-1.5", usage.Money(-1_500_000).String())
	assert.Equal(t, "-9223372036854.775808", usage.Money(math.MinInt64).String())
	assert.Equal(t, usage.Money(math.MaxInt64), usage.Money(math.MaxInt64-1).Plus(5))
}

func TestPricesAreFoundAndRoundedUp(t *testing.T) {
	p, err := usage.ParsePrices([]byte(`{"currency":"EUR","models":{
		"openai/*":{"input":1,"output":2},"openai/gpt-5*":{"input":"0.25","output":2,"cached":0.025},
		"openai/gpt-5-free":{"input":0,"output":0},"*":{"input":9,"output":9}}}`))
	require.NoError(t, err)
	assert.Equal(t, "EUR", p.Currency())
	use := func(in, cached, out, total int64) allowance.Use {
		return allowance.Use{Input: in, Cached: cached, Output: out, Total: total, Reported: true}
	}
	for name, test := range map[string]struct {
		model string
		use   allowance.Use
		want  string
	}{
		"the longest beginning":       {"openai/gpt-5-mini", use(1_000_000, 0, 0, 1_000_000), "0.25"},
		"a shorter one":               {"openai/o9", use(1_000_000, 0, 500_000, 1_500_000), "2"},
		"a whole name":                {"openai/gpt-5-free", use(1e9, 0, 1e9, 2e9), "0"},
		"every other":                 {"local/x", use(10, 0, 0, 10), "0.00009"},
		"cached tokens":               {"openai/gpt-5", use(1_000_000, 400_000, 0, 1_000_000), "0.16"},
		"more cached than there were": {"openai/gpt-5", use(100, 1000, 0, 100), "0.000003"},
		"thoughts cost as output":     {"openai/gpt-5", use(0, 0, 10, 1_000_000), "2"},
		"a part of a millionth":       {"openai/gpt-5", use(1, 0, 0, 1), "0.000001"},
		"nothing":                     {"openai/gpt-5", use(0, 0, 0, 0), "0"},
	} {
		m, ok := p.Cost(test.model, test.use)
		assert.True(t, ok, name)
		assert.Equal(t, test.want, m.String(), name)
	}
	m, ok := p.Cost("x", use(math.MaxInt64/2, 0, math.MaxInt64/2, math.MaxInt64-1))
	assert.True(t, ok)
	assert.Positive(t, m, "it stops at the largest amount")
	_, ok = p.Cost("openai/gpt-5", allowance.Use{})
	assert.False(t, ok, "the model has not said what it used")
	m, ok = p.Cost("openai/gpt-5", allowance.Use{Code: status.Unavailable})
	assert.True(t, ok, "a call that failed costs nothing")
	assert.Zero(t, m)
	var none *usage.Prices
	_, ok = none.Cost("x", use(1, 0, 1, 2))
	assert.False(t, ok)
	assert.Empty(t, none.Currency())
	assert.False(t, none.Has("x"))
}

func TestPricesAreReadStrictly(t *testing.T) {
	for _, text := range []string{
		``, `[]`, `{"models":{}}`, `{"currency":"usd"}`, `{"currency":"USD","modles":{}}`, `{"currency":"USD","models":{"x":{"input":1}}}`,
		`{"currency":"USD","models":{"x":{"input":1,"output":-1}}}`, `{"currency":"USD","models":{"x":{"input":1,"output":1e2}}}`,
		`{"currency":"USD","models":{"a*b":{"input":1,"output":1}}}`, `{"currency":"USD","models":{"":{"input":1,"output":1}}}`,
		`{"currency":"USD","models":{"x":{"input":1,"output":1,"chached":1}}}`, `{"currency":"USD","models":{"x":{"input":1000001,"output":1}}}`,
		`{"currency":"USD","models":{"x":{"input":0.0000001,"output":1}}}`, strings.Repeat(" ", usage.MaxPricesBytes+1),
	} {
		_, err := usage.ParsePrices([]byte(text))
		require.ErrorIs(t, err, status.ErrInvalidArgument, "%.80s", text)
	}
}
