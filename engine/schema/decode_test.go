package schema_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

type decoded struct {
	Limits struct {
		TimeoutMS int64 `json:"timeoutMs"`
		Fuel      int64 `json:"fuel"`
	} `json:"limits"`
	Hosts  []struct{ Host string }   `json:"hosts"`
	Values map[string]map[string]int `json:"values"`
	KV     bool                      `json:"kv"`
	Raw    json.RawMessage           `json:"raw"`
	hidden int
}

func TestDecodeIsStrict(t *testing.T) {
	for raw, want := range map[string]string{
		`{"limits":{"feul":1}}`:                        `"limits.feul" is not known here; want "fuel", "timeoutMs"`,
		`{"kv":false,"KV":true}`:                       `"KV" is not known here; want "kv"`,
		`{"kv":false,"kv":true}`:                       "the same key twice",
		`{"kv":false,"\u006bv":true}`:                  "the same key twice",
		`{"values":{"a":{"b":1,"b":2}}}`:               "the same key twice",
		`{"raw":{"a":1,"a":2}}`:                        "the same key twice",
		`{"limits":{"timeoutMs":"5"}}`:                 `"limits.timeoutMs" is a string, want a whole number`,
		`{"limits":{"timeoutMs":1.5}}`:                 `"limits.timeoutMs" is a number, want a whole number`,
		`{"limits":{"timeoutMs":9223372036854775808}}`: `"limits.timeoutMs" is a number, want a whole number`,
		`{"limits":[]}`:                                `"limits" is an array, want an object`,
		`{"hosts":[{"Host":"a"},{"host":"b"}]}`:        `"hosts.host" is not known here; want "Host"`,
		`{"kv":"yes"}`:                                 `"kv" is a string, want true or false`,
		`{"hidden":1}`:                                 `"hidden" is not known here`,
		`[]`:                                           "the value is an array, want an object",
		`{"kv":true} {}`:                               "not valid JSON",
		`{"kv":true,}`:                                 "not valid JSON",
		"":                                             "got nothing",
		"{\"kv\":true,\"\xff\":1}":                     "not valid UTF-8",
		`{"` + strings.Repeat("x", 200) + `":1}`:       `"` + strings.Repeat("x", 80) + `…" is not known`,
		"{\"\u202ekv\":1}":                             `"\u202ekv" is not known`,
		`{"raw":` + strings.Repeat("[", 2000) + `1` + "}": "",
	} {
		var d decoded
		err := schema.Decode(json.RawMessage(raw), &d, schema.RefuseUnknown)
		if assert.Error(t, err, raw) {
			assert.Contains(t, err.Error(), want, raw)
			assert.NotContains(t, err.Error(), "Go ", "encoding/json's words stay inside")
		}
	}
	for _, raw := range []string{
		`{}`, `null`, ` {"kv" : true , "limits":{ "fuel" : 1 } } `, `{"values":{"a":{"B":1,"b":2}},"raw":{"KV":1,"kv":[{}]}}`,
		`{"hosts":null,"limits":null}`,
	} {
		var d decoded
		require.NoError(t, schema.Decode(json.RawMessage(raw), &d, schema.RefuseUnknown), raw)
	}
	var d decoded
	require.NoError(t, schema.Decode(json.RawMessage(`{"new":{"kv":1},"kv":true}`), &d, schema.IgnoreUnknown))
	assert.True(t, d.KV)
	assert.Zero(t, d.hidden)
	assert.Error(t, schema.Decode(json.RawMessage(`{"Kv":true}`), &d, schema.IgnoreUnknown), "a name in another case is no unknown one")
}

// As for JSON Schema, a number is whole whichever way it is written.
func TestDecodeReadsWholeNumbersAsJSONSchemaDoes(t *testing.T) {
	for text, want := range map[string]int64{
		"3": 3, "3.0": 3, "3.00": 3, "3e0": 3, "3E+2": 300, "30e-1": 3, "-2.0": -2, "0.0": 0, "-0.0": 0, "0e5": 0,
		"1.5e1": 15, "9223372036854775807": math.MaxInt64, "9.223372036854775807e18": math.MaxInt64, "-9223372036854775808.0": math.MinInt64,
	} {
		var d decoded
		require.NoError(t, schema.Decode(json.RawMessage(`{"limits":{"fuel":`+text+`,"timeoutMs": `+text+` },"values":{"a":{"b":`+text+`}},"raw":`+text+`}`), &d, schema.RefuseUnknown), text)
		assert.Equal(t, want, d.Limits.Fuel, text)
		assert.Equal(t, want, d.Limits.TimeoutMS, text)
		assert.Equal(t, int(want), d.Values["a"]["b"], text)
		assert.Equal(t, text, string(d.Raw), "what is not for Decode stays as it was written")
	}
	for _, text := range []string{"3.5", "3e-1", "1e19", "1e1000", "9223372036854775808.0", "0.1e0", "1e-1000"} {
		var d decoded
		assert.Error(t, schema.Decode(json.RawMessage(`{"limits":{"fuel":`+text+`}}`), &d, schema.RefuseUnknown), text)
	}
}

// FuzzDecode holds Decode against encoding/json: what both accept they read alike.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"kv":true}`, `{"limits":{"fuel":1e3}}`, `{"hosts":[{"Host":"a"}],"raw":[1,{"a":2}]}`, `{"KV":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var strict, loose decoded
		if schema.Decode(raw, &strict, schema.IgnoreUnknown) != nil {
			return
		}
		if err := json.Unmarshal(raw, &loose); err != nil { // for it, 1e3 is no whole number
			wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
			require.True(t, ok && strings.HasPrefix(wrong.Value, "number "), err)
			return
		}
		assert.Equal(t, loose, strict)
	})
}

// amount reads itself, and says what it wants to the caller, or only to the log.
type amount struct{}

func (*amount) UnmarshalJSON(raw []byte) error {
	if string(raw) == `"inside"` {
		return status.Errorf(status.Internal, "a table of the server")
	}
	return status.Publicf(status.InvalidArgument, "want an amount such as 0.25")
}

func TestATypeThatReadsItselfSaysWhatItWants(t *testing.T) {
	var d struct {
		Limits struct {
			Money amount `json:"money"`
		} `json:"limits"`
	}
	err := schema.Decode(json.RawMessage(`{"limits":{"money":"-1"}}`), &d, schema.RefuseUnknown)
	require.EqualError(t, err, "want an amount such as 0.25")
	err = schema.Decode(json.RawMessage(`{"limits":{"money":"inside"}}`), &d, schema.RefuseUnknown)
	require.EqualError(t, err, "a value does not fit", "only what is meant for callers is told")
}
