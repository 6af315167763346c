package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// sends is a client's transport that gives a bearer token.
type sends struct {
	http.RoundTripper
	token string
}

func (s sends) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	return s.RoundTripper.RoundTrip(r)
}

func (w *world) mcpClient(revision, token string, o *mcp.ClientOptions) (*mcp.ClientSession, error) {
	w.t.Helper()
	transport := &mcp.StreamableClientTransport{Endpoint: w.URL + tenant + "/mcp", HTTPClient: &http.Client{Transport: sends{w.Client().Transport, token}}, MaxRetries: -1}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test"}, o).Connect(w.t.Context(), transport, &mcp.ClientSessionOptions{ProtocolVersion: revision})
	if err == nil {
		w.t.Cleanup(func() { _ = session.Close() })
	}
	return session, err
}

func TestMCPClientsUseATenantsModules(t *testing.T) {
	w := withConformance(t)
	for _, revision := range []string{"2026-07-28", "2025-11-25", "2025-06-18"} {
		s, err := w.mcpClient(revision, "", nil)
		require.NoError(t, err)
		for name, c := range map[string]struct{ tool, arguments, want string }{
			"a module's tool":                 {"calc__add", `{"a":0.1,"b":0.2}`, `"structuredContent":{"sum":0.3}`},
			"a text tool":                     {"conformance__upper", `{"input":"abc"}`, `"text":"ABC"`},
			"a Go tool":                       {"native__pretty", `{}`, `[1.0,2e400]`},
			"an input that breaks the schema": {"calc__add", `{"a":"x","b":1}`, `/a: got string, want number`},
			"a private error":                 {"native__private", `{}`, `"isError":true`},
			"an interrupt":                    {"conformance__interrupt", `{"why":"I ask"}`, `can't be asked`},
		} {
			result, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: c.tool, Arguments: json.RawMessage(c.arguments)})
			require.NoError(t, err, name)
			got, err := json.Marshal(result)
			require.NoError(t, err)
			assert.Contains(t, string(got), c.want, "%s: %s", revision, name)
			assert.NotContains(t, string(got), "secret", name)
		}
		list, err := s.ListTools(t.Context(), nil)
		require.NoError(t, err)
		for _, tool := range list.Tools {
			switch tool.Name {
			case "calc__add":
				require.NotNil(t, tool.Annotations)
				assert.True(t, tool.Annotations.ReadOnlyHint)
				assert.False(t, *tool.Annotations.OpenWorldHint)
			case "native__pretty":
				assert.Nil(t, tool.Annotations, "nothing is known of it")
			}
		}
	}
}

// What is uploaded, rolled back or removed is told to clients that wait for it.
func TestMCPClientsAreToldOfUploads(t *testing.T) {
	w := newWorld(t, nil)
	told := make(chan struct{}, 8)
	s, err := w.mcpClient("", "", &mcp.ClientOptions{ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { told <- struct{}{} }})
	require.NoError(t, err)
	_, err = s.CallTool(t.Context(), &mcp.CallToolParams{Name: "calc__add"})
	require.ErrorContains(t, err, "unknown tool")
	require.Equal(t, http.StatusCreated, w.put("calc", calc(t)).status)
	<-told
	_, err = s.CallTool(t.Context(), &mcp.CallToolParams{Name: "calc__add"})
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, w.do(http.MethodDelete, tenant+"/modules/calc", nil).status)
	<-told
}

const rpcCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"calc__add","arguments":{"a":1,"b":2}}}`

func TestMCPWithoutAClient(t *testing.T) {
	w := withConformance(t)
	r := w.post("/mcp", rpcCall)
	require.Equal(t, http.StatusOK, r.status, r.body)
	assert.Equal(t, "application/json", r.header.Get("Content-Type"))
	assert.Contains(t, r.body, `"structuredContent":{"sum":3}`)
	r = w.post("/mcp", rpcCall, "Accept: application/json, text/event-stream")
	assert.Equal(t, "text/event-stream", r.header.Get("Content-Type"))
	assert.Contains(t, r.body, `"structuredContent":{"sum":3}`)
	context := strings.Replace(rpcCall, `"params":{`, `"params":{"_meta":{"genkit-wasm/context":{"auth":{"uid":"ann"}}},`, 1)
	assert.Contains(t, w.post("/mcp", strings.Replace(context, "calc__add", "conformance__context", 1)).body, `{"auth":{"uid":"ann"}}`)

	for name, c := range map[string]struct {
		body    string
		headers []string
		status  int
	}{
		"a batch":             {`[` + rpcCall + `]`, nil, 400},
		"no JSON":             {`{`, nil, 400},
		"two names":           {`{"jsonrpc":"2.0","jsonrpc":"2.0"}`, nil, 400},
		"nothing":             {``, nil, 400},
		"another type":        {rpcCall, []string{"Content-Type: text/plain"}, 415},
		"a page's request":    {rpcCall, []string{"Origin: https://evil.example"}, 403},
		"an unknown revision": {rpcCall, []string{"Mcp-Protocol-Version: 1999-01-01"}, 400},
		"too much":            {`{"x":"` + strings.Repeat("x", 5<<20) + `"}`, nil, 413},
		"a deep message":      {strings.Repeat(`{"x":`, 20000) + "1" + strings.Repeat("}", 20000), nil, 400},
		"a long revision":     {rpcCall, []string{"Mcp-Protocol-Version: " + strings.Repeat("9", 99)}, 400},
	} {
		assert.Equal(t, c.status, w.post("/mcp", c.body, c.headers...).status, name)
	}
	assert.Equal(t, http.StatusNotFound, w.do(http.MethodPost, "/v1/tenants/nobody/mcp", strings.NewReader(rpcCall), jsonType).status)
	assert.Equal(t, http.StatusMethodNotAllowed, w.do(http.MethodGet, tenant+"/mcp", nil, sse).status)
	assert.Equal(t, http.StatusAccepted, w.post("/mcp", `{"jsonrpc":"2.0","method":"notifications/initialized"}`).status)
}

// Calls are counted as those of the other routes are: of modules, of Go tools, and those that were refused.
func TestMCPCallsAreCounted(t *testing.T) {
	w := withConformance(t)
	for _, tool := range []string{"calc__add", "native__pretty", "native__busy"} {
		w.post("/mcp", strings.Replace(rpcCall, "calc__add", tool, 1))
	}
	for name, code := range map[string]status.Code{"calc/add": status.OK, "native/pretty": status.OK, "native/busy": status.ResourceExhausted} {
		e := w.events.of(t, name)
		assert.Equal(t, usage.Tool, e.Kind, name)
		assert.Equal(t, code, e.Code, name)
	}
}

// Scopes, and the end of a key, hold as everywhere.
func TestMCPKnowsItsCallers(t *testing.T) {
	g := newGuarded(t, nil)
	_, err := g.mcpClient("", "", nil)
	require.Error(t, err)
	_, err = g.mcpClient("", g.key("acme:manage"), nil)
	require.Error(t, err)
	_, err = g.mcpClient("", g.key("default:read"), nil)
	require.Error(t, err)
	key, token := g.keyOf("default:invoke")
	s, err := g.mcpClient("", token, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, g.put("conformance", read(t, "pdk/conformance/c/conformance.wasm"), bearer(g.key("default:manage"))).status)
	for given, want := range map[string]string{`{"Auth":{"uid":"root"}}`: `this server asks that itself`, `{"theme":"dark"}`: `"uid":"`} {
		body := strings.Replace(rpcCall, `"params":{`, `"params":{"_meta":{"genkit-wasm/context":`+given+`},`, 1)
		r := g.post("/mcp", strings.Replace(body, "calc__add", "conformance__context", 1), bearer(token))
		assert.Contains(t, r.body, want)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := s.CallTool(context.WithoutCancel(t.Context()), &mcp.CallToolParams{Name: "native__slow"})
		failed <- err
	}()
	<-g.running
	require.NoError(t, g.keys.Revoke(t.Context(), key.ID))
	<-g.left
	<-failed
	_, err = s.ListTools(t.Context(), nil)
	require.Error(t, err)
}

// A guest that emits to a reader who has left ends.
func TestMCPCallsEndWithTheirReader(t *testing.T) {
	w := newWorld(t, nil)
	s, err := w.mcpClient("2025-11-25", "", nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	params := &mcp.CallToolParams{Name: "native__slow"}
	params.SetProgressToken(1)
	go func() {
		<-w.running
		cancel()
	}()
	_, err = s.CallTool(ctx, params)
	require.Error(t, err)
	<-w.left
}

// rpcListen is the request of a client that waits for changes.
const rpcListen = `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},"_meta":{
	"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"x","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`

func TestMCPListenersAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	var open, refused int
	for range 70 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+tenant+"/mcp", strings.NewReader(rpcListen))
		require.NoError(t, err)
		for name, value := range map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"} {
			req.Header.Set(name, value)
		}
		resp, err := w.Client().Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if line := lines.Text(); strings.Contains(line, "notifications/subscriptions/acknowledged") {
				open++
				break
			} else if strings.Contains(line, "too many clients wait for changes") {
				refused++
				break
			}
		}
	}
	assert.Equal(t, []int{64, 6}, []int{open, refused})
}

// What the SDK refuses as plain text is answered with a problem, as everything else is.
func TestMCPFailuresAreProblems(t *testing.T) {
	w := newWorld(t, nil)
	for body, header := range map[string]string{
		`{}`: sse,
		`{"jsonrpc":"1.0","method":"ping","id":1}`:  sse,
		`{"jsonrpc":"2.0","method":"ping","id":{}}`: sse,
		rpcCall: "Mcp-Protocol-Version: 1999-01-01",
	} {
		r := w.post("/mcp", body, header)
		assert.Equal(t, http.StatusBadRequest, r.status, body)
		assert.NotContains(t, r.header.Get("Content-Type"), "text/plain", body)
		assert.Equal(t, "{", r.body[:1], body)
	}
	assert.Contains(t, w.post("/mcp", `{}`).body, "the message is none that MCP has: ")
}
