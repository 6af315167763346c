package policy_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

func TestAPolicyIsReadWhole(t *testing.T) {
	p, err := policy.Parse([]byte(`{
		"grants": { "http": [{"host": "api.example.com", "methods": ["GET"], "pathPrefix": "/v1/"}], "kv": true,
		            "secrets": {"API_KEY": ["api.example.com"]}, "generate": ["openai/*"], "actions": ["tool/*"], "clock": true },
		"limits": { "timeoutMs": 5000, "fuel": 2000000000, "memoryBytes": 33554432, "tableElements": 10000,
		            "inputBytes": 1048576, "outputBytes": 262144, "concurrency": 16, "callsPerMinute": 600 },
		"state": "fresh" }`))
	require.NoError(t, err)
	assert.Equal(t, "/v1/", p.Grants.HTTP[0].PathPrefix)
	assert.Equal(t, int64(600), p.Limits.CallsPerMinute)
	assert.Equal(t, policy.Fresh, p.State)

	p, err = policy.Parse([]byte("  \n"))
	require.NoError(t, err)
	assert.Equal(t, policy.Policy{}, p)
}

func TestAPolicyFailsClosed(t *testing.T) {
	for raw, want := range map[string]string{
		`{"limit":{}}`:                       "limit",
		`{"limits":{"memorybytes_":1}}`:      "memorybytes_",
		`{"limits":{"fuel":1.5}}`:            "fuel",
		`{"limits":{"fuel":-1}}`:             `limit "fuel" is -1`,
		`{"limits":{"concurrency":1000000}}`: `limit "concurrency"`,
		`{"limits":{"memoryBytes":1e30}}`:    "memoryBytes",
		`{"state":"stale"}`:                  `want "fresh" or "reuse"`,
		`{"limits":{"memoryBytes":1000}}`:    "at least one page",
		`{"grants":{"kv":"yes"}}`:            "kv",
		`[]`:                                 "array",
		`{`:                                  "not valid JSON",
	} {
		_, err := policy.Parse([]byte(raw))
		require.ErrorIs(t, err, status.ErrInvalidArgument, raw)
		assert.Contains(t, err.Error(), want, raw)
	}
}

func TestGrantsAreComparedWithImports(t *testing.T) {
	none := policy.Grants{}
	require.NoError(t, none.Check([]abi.Capability{abi.CapEmit, abi.CapContext, abi.CapInterrupt}))
	err := none.Check([]abi.Capability{abi.CapKVGet, abi.CapEmit, abi.CapNow, abi.CapHTTP})
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	for _, want := range []string{`"kv_get" (grant "kv")`, `"now" (grant "clock")`, `"http" (grant "http")`} {
		assert.Contains(t, err.Error(), want)
	}
	assert.JSONEq(t, `{"missing":["\"kv_get\" (grant \"kv\")","\"now\" (grant \"clock\")","\"http\" (grant \"http\")"]}`, string(status.Convert(err).Details))

	all := policy.Grants{HTTP: []policy.HTTPGrant{{Host: "x"}}, KV: true, Generate: []string{"*"}, Actions: []string{"*"}, Clock: true}
	for _, c := range []abi.Capability{abi.CapHTTP, abi.CapKVList, abi.CapGenerate, abi.CapRun, abi.CapNow, abi.CapNext} {
		require.ErrorIs(t, all.Check([]abi.Capability{c}), status.ErrUnimplemented, c)
	}
}

func TestALowerLayerOnlyTightens(t *testing.T) {
	outer := policy.Limits{TimeoutMS: 100, Fuel: 1000}
	assert.Equal(t, outer, policy.Limits{}.Within(outer))
	assert.Equal(t, policy.Limits{TimeoutMS: 50, Fuel: 1000}, policy.Limits{TimeoutMS: 50, Fuel: 9999}.Within(outer))
	assert.Equal(t, policy.Limits{TimeoutMS: 100, Fuel: 1000, CallsPerMinute: 5}, policy.Limits{CallsPerMinute: 5}.Within(outer))
	d := policy.Limits{Fuel: 7}.Or(policy.Defaults())
	assert.Equal(t, int64(7), d.Fuel)
	assert.Equal(t, policy.Defaults().MemoryBytes, d.MemoryBytes)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"grants":{"kv":true},"limits":{"fuel":1},"state":"reuse"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := policy.Parse(raw)
		if err != nil {
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policy.Parse(again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		within := p.Limits.Within(policy.Defaults())
		if within.Fuel > policy.Defaults().Fuel || within.TimeoutMS > policy.Defaults().TimeoutMS {
			t.Fatalf("%s widens", raw)
		}
	})
}
