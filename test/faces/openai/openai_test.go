// Package openai_test drives the server's face for OpenAI's clients with these clients themselves.
package openai_test

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/peer"
	"github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
)

// answerer calls the first tool that it is offered, and then says what the tool answered; without tools it says
// "Hello" in two chunks, or fails where it is told to.
func answerer(_ context.Context, req *model.Request, send model.Send) (*model.Response, error) {
	last := req.Messages[len(req.Messages)-1]
	m := content.NewModelTextMessage("Hello")
	switch {
	case last.Text() == "spent":
		return nil, status.Publicf(status.ResourceExhausted, "no tokens are left")
	case strings.HasPrefix(last.Text(), "json"): // what the format asks for follows
		m = content.NewModelTextMessage(`{"sum":5}`)
	case last.Role == content.RoleTool:
		m = content.NewModelTextMessage("it is " + string(last.Content[0].ToolResponse.Output))
		if out, err := text(last.Content[0].ToolResponse.Output); err == nil {
			m = content.NewModelTextMessage("it is " + out)
		}
	case len(req.Tools) > 0:
		m = content.NewModelMessage(content.NewToolRequestPart(&content.ToolRequest{Name: req.Tools[0].Name, Ref: "c1", Input: json.RawMessage(`{"a":2,"b":3}`)}))
	case send != nil:
		for _, text := range []string{"Hel", "lo"} {
			if err := send(&model.Chunk{Role: content.RoleModel, Content: []content.Part{content.NewTextPart(text)}}); err != nil {
				return nil, err
			}
			if last.Text() == "fail" {
				return nil, status.Publicf(status.ResourceExhausted, "no tokens are left")
			}
		}
	}
	return &model.Response{Message: &m, FinishReason: model.FinishStop, Usage: &model.Usage{InputTokens: 3, OutputTokens: 2, CachedContentTokens: 1}}, nil
}

func text(raw json.RawMessage) (s string, err error) { return s, json.Unmarshal(raw, &s) }

// start serves the model, a tool and an embedder, and returns the base URL for clients.
func start(t *testing.T) string {
	t.Helper()
	host, err := wasmhost.New(t.Context(), wasmhost.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, host.Close(context.Background())) })
	calc, err := os.ReadFile("../../../examples/calc/calc.wasm")
	require.NoError(t, err)
	for _, wasm := range [][]byte{calc, wasmtest.Says(`{"abi":"genkit/1","name":"plug","embedders":[{"name":"e","export":"f"}]}`, "f", `{"embeddings":[{"embedding":[0.5,-2]},{"embedding":[1,2]}]}`)} {
		_, err := host.Load(t.Context(), wasmhost.DefaultTenant, wasmhost.Upload{Wasm: wasm})
		require.NoError(t, err)
	}
	reg := registry.New(nil)
	for _, f := range format.Builtins() {
		require.NoError(t, format.Register(reg, f))
	}
	m, err := model.New("acme/answerer", model.Info{Supports: model.Supports{Tools: true, Multiturn: true}}, answerer)
	require.NoError(t, err)
	for _, a := range []action.Action{m, generate.Action(reg)} {
		require.NoError(t, reg.Register(a))
	}
	require.NoError(t, reg.AddProvider(host.Provider(wasmhost.DefaultTenant)))
	srv, err := server.New(server.Config{Host: host, Registry: func(string) (*registry.Registry, error) { return reg, nil }})
	require.NoError(t, err)
	s := httptest.NewServer(srv.Handler())
	t.Cleanup(s.Close)
	return s.URL + "/v1/tenants/default/openai/v1"
}

func TestTheClientForJavaScript(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		peer.Missing(t, "node is not installed")
	}
	if _, err := os.Stat(filepath.Join("..", "node_modules", "openai", "package.json")); err != nil {
		peer.Missing(t, "test/faces/node_modules has no openai: npm --prefix test/faces ci")
	}
	out, err := exec.Command("node", "client.mjs", start(t)).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// The interpreter that OPENAI_PYTHON names, or python3, has the packages of requirements.txt.
func TestTheClientForPython(t *testing.T) {
	python := cmp.Or(os.Getenv("OPENAI_PYTHON"), "python3")
	if err := exec.Command(python, "-c", "import openai").Run(); err != nil {
		peer.Missing(t, "%s has no package openai: pip install -r test/faces/openai/requirements.txt, and OPENAI_PYTHON", python)
	}
	out, err := exec.Command(python, "client.py", start(t)).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
