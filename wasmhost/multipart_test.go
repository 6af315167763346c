package wasmhost_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// The conformance guest's echo returns what it is given, so a sidecar makes a
// multipart tool of it.
var multipartSidecar = []byte(`{"abi":"genkit/1","name":"multi","tools":[
	{"name":"parts","export":"echo","multipart":true,"outputSchema":{"type":"integer"}},
	{"name":"any","export":"echo","multipart":true},
	{"name":"ask","export":"interrupt","multipart":true},
	{"name":"plain","export":"echo"}]}`)

func TestMultipartToolsOfModulesRun(t *testing.T) {
	h := newHost(t, wasmhost.Config{})
	reg := registry.New(nil)
	require.NoError(t, reg.AddProvider(h.Provider(tenant)))
	wasm, err := os.ReadFile("../pdk/conformance/c/conformance.wasm")
	require.NoError(t, err)
	rec, err := h.Load(t.Context(), tenant, wasmhost.Upload{Wasm: wasm, Descriptor: multipartSidecar})
	require.NoError(t, err)
	assert.Equal(t, []string{"/tool.v2/multi/parts", "/tool.v2/multi/any", "/tool.v2/multi/ask", "/tool/multi/plain"}, rec.Actions)

	_, err = reg.Lookup(t.Context(), action.Key{Kind: action.Tool, Name: "multi/parts"})
	require.ErrorIs(t, err, status.ErrNotFound, "a multipart tool has no plain form")
	whole := `{"output":7,"content":[{"media":{"url":"data:,x"}}],"metadata":{"k":1}}`
	for _, c := range []struct{ tool, in, want string }{
		{"parts", whole, whole},
		{"any", `{"content":[{"text":"hi"}]}`, `{"content":[{"text":"hi"}]}`},
		{"any", `{}`, `{}`},
		{"plain", `{"content":7}`, `{"output":{"content":7}}`},
	} {
		a, err := reg.Resolve(t.Context(), "/tool.v2/multi/"+c.tool, action.ToolV2)
		require.NoError(t, err)
		out, err := a.RunJSON(t.Context(), json.RawMessage(c.in), nil)
		require.NoError(t, err, c.in)
		assert.JSONEq(t, c.want, string(out))
	}
	for tool, bad := range map[string][]string{
		"parts": {`{"output":"seven"}`, `{}`, `{"output":7,"content":{}}`, `{"output":7,"content":[{"text":1}]}`, `{"output":7,"metadata":[]}`, `7`, `null`, `[]`},
		"any":   {`"text"`, `{"content":["x"]}`},
	} {
		a, err := reg.Resolve(t.Context(), tool, action.Tool, action.ToolV2)
		require.NoError(t, err)
		for _, in := range bad {
			_, err := a.RunJSON(t.Context(), json.RawMessage(in), nil)
			require.ErrorIs(t, err, status.ErrInternal, in)
		}
	}
	a, err := reg.Resolve(t.Context(), "ask", action.Tool, action.ToolV2)
	require.NoError(t, err)
	_, err = a.RunJSON(t.Context(), json.RawMessage(`{"q":1}`), nil)
	require.ErrorContains(t, err, "tool interrupted")

	list, found, err := reg.Expand(t.Context(), h.Provider(tenant).Name()+":tool/multi/*", action.Tool, action.ToolV2)
	require.NoError(t, err)
	require.True(t, found)
	assert.Len(t, list, 4)
	assert.Equal(t, "/dynamic-action-provider/wasm/"+tenant+":tool.v2/multi/any", list[0].Key)
}
