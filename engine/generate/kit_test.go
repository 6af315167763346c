package generate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newRegistry returns a registry with the built-in formats.
func newRegistry(t testing.TB) *registry.Registry {
	t.Helper()
	reg := registry.New(nil)
	for _, f := range format.Builtins() {
		require.NoError(t, format.Register(reg, f))
	}
	return reg
}

func register(t testing.TB, reg *registry.Registry) func(action.Action, error) {
	t.Helper()
	return func(a action.Action, err error) {
		t.Helper()
		require.NoError(t, err)
		require.NoError(t, reg.Register(a))
	}
}

// fakeModel answers the nth call with the nth response and keeps what it was
// asked, as JSON.
type fakeModel struct {
	t         testing.TB
	responses []string
	stream    bool // each answer's text is streamed as one chunk first

	mu       sync.Mutex // guards requests
	requests []string
}

func (f *fakeModel) generate(_ context.Context, req *model.Request, send model.Send) (*model.Response, error) {
	f.mu.Lock()
	n := len(f.requests)
	raw, err := rawjson.Encode(req)
	f.requests = append(f.requests, string(raw))
	conforms(f.t, "GenerateRequest", req)
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if n >= len(f.responses) {
		return nil, fmt.Errorf("unexpected call %d", n+1)
	}
	resp := decode[model.Response](f.t, json.RawMessage(f.responses[n]))
	if f.stream && send != nil && resp.Message != nil {
		return resp, send(&model.Chunk{Content: resp.Message.Content})
	}
	return resp, nil
}

// wireSchemas compiles definitions of Genkit's own schema, once each.
var wireSchemas = struct {
	mu       sync.Mutex
	compiled map[string]*schema.Schema
}{compiled: map[string]*schema.Schema{}}

// conforms checks v's JSON against a definition of genkit-schema.json, where that is
// at hand: every request and response of these tests passes here.
func conforms(t testing.TB, definition string, v any) {
	t.Helper()
	path, ok := enginetest.FindSpec("genkit/genkit-schema.json")
	if !ok {
		return
	}
	wireSchemas.mu.Lock()
	defer wireSchemas.mu.Unlock()
	s := wireSchemas.compiled[definition]
	if s == nil {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		var doc map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(raw, &doc))
		doc["$ref"] = json.RawMessage(`"#/$defs/` + definition + `"`)
		doc["$schema"] = json.RawMessage(`"https://json-schema.org/draft/2020-12/schema"`)
		raw, err = json.Marshal(doc)
		require.NoError(t, err)
		s, err = schema.Compile(raw)
		require.NoError(t, err)
		wireSchemas.compiled[definition] = s
	}
	raw, err := rawjson.Encode(v)
	require.NoError(t, err)
	require.NoError(t, s.Validate(raw), "%s %s", definition, raw)
}

func (f *fakeModel) calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}

func (f *fakeModel) request(t testing.TB, n int) *model.Request {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Less(t, n, len(f.requests), "the model was not called that often")
	return decode[model.Request](t, json.RawMessage(f.requests[n]))
}

var everything = model.Info{Supports: model.Supports{
	Multiturn: true, Media: true, Tools: true, SystemRole: true, Context: true, Constrained: "all", ToolChoice: true,
}}

// newModel registers model "m".
func newModel(t testing.TB, reg *registry.Registry, responses ...string) *fakeModel {
	t.Helper()
	f := &fakeModel{t: t, responses: responses}
	register(t, reg)(model.New("m", everything, f.generate))
	return f
}

// says is a response of one text part.
func says(text string) string {
	return `{"finishReason":"stop","message":{"role":"model","content":[{"text":` + quote(text) + `}]}}`
}

// calls is a response of tool requests: name, or name#ref, each with input {}.
func calls(names ...string) string {
	parts := make([]string, len(names))
	for i, name := range names {
		name, ref, _ := strings.Cut(name, "#")
		parts[i] = `{"toolRequest":{"name":` + quote(name) + `,"input":{}`
		if ref != "" {
			parts[i] += `,"ref":` + quote(ref)
		}
		parts[i] += `}}`
	}
	return `{"message":{"role":"model","content":[` + strings.Join(parts, ",") + `]}}`
}

func quote(s string) string {
	raw, err := rawjson.Encode(s)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// newTool registers a tool that ignores its input.
func newTool(t testing.TB, reg *registry.Registry, name string, fn func(ctx context.Context) (any, error)) {
	t.Helper()
	register(t, reg)(tool.New(name, "does "+name, func(ctx context.Context, _ any) (any, error) { return fn(ctx) }))
}

// gives is a tool's function that returns v.
func gives(v any) func(context.Context) (any, error) {
	return func(context.Context) (any, error) { return v, nil }
}

// ask is the options of a call of "m".
func ask(tools ...string) *model.GenerateOptions {
	return &model.GenerateOptions{Model: "m", Messages: []content.Message{content.NewUserTextMessage("hi")}, Tools: tools}
}

// run is generate.Run that must not fail.
func run(t testing.TB, reg *registry.Registry, opts *model.GenerateOptions, options ...generate.Option) *model.Response {
	t.Helper()
	resp, err := generate.Run(t.Context(), reg, opts, nil, options...)
	require.NoError(t, err)
	conforms(t, "GenerateResponse", resp)
	return resp
}

// runErr is generate.Run that must fail.
func runErr(t testing.TB, reg *registry.Registry, opts *model.GenerateOptions, options ...generate.Option) error {
	t.Helper()
	_, err := generate.Run(t.Context(), reg, opts, nil, options...)
	require.Error(t, err)
	return err
}

// index is a chunk's index, "" when it has none.
func index(c *model.Chunk) string {
	if !c.HasIndex() {
		return ""
	}
	return strconv.Itoa(c.Index)
}

// collectChunks returns a Send and the chunks as "role index text".
func collectChunks(t testing.TB) (model.Send, *[]string) {
	lines := &[]string{}
	return func(c *model.Chunk) error {
		line := fmt.Sprintf("%s %s", c.Role, index(c))
		for _, p := range c.Content {
			switch {
			case p.ToolResponse != nil:
				line += fmt.Sprintf(" %s=%s", p.ToolResponse.Name, p.ToolResponse.Output)
				if p.Metadata.Truthy("partial") {
					line += "…"
				}
			case p.ToolRequest != nil:
				line += " " + p.ToolRequest.Name + "()"
			case p.Text != nil:
				line += " " + *p.Text
			}
		}
		*lines = append(*lines, line)
		return nil
	}, lines
}

func toJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := rawjson.Encode(v)
	require.NoError(t, err)
	return string(raw)
}
