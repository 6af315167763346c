package prompt_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a model that keeps what it was asked and answers in turn, "the end" when
// there is nothing left to say.
type echo struct {
	answers []string

	mu    sync.Mutex // guards asked
	asked []*model.Request
}

func (e *echo) generate(_ context.Context, req *model.Request, send model.Send) (*model.Response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	raw := `{"message":{"role":"model","content":[{"text":"the end"}]},"finishReason":"stop"}`
	if len(e.asked) < len(e.answers) {
		raw = e.answers[len(e.asked)]
	}
	e.asked = append(e.asked, req)
	resp := &model.Response{}
	if err := json.Unmarshal([]byte(raw), resp); err != nil {
		return nil, err
	}
	if send != nil {
		return resp, send(&model.Chunk{Content: resp.Message.Content})
	}
	return resp, nil
}

func newRegistry(t testing.TB, models ...string) (*registry.Registry, *echo) {
	t.Helper()
	reg, e := registry.New(nil), &echo{}
	for _, f := range format.Builtins() {
		require.NoError(t, format.Register(reg, f))
	}
	for _, name := range append(models, "test/echo") {
		m, err := model.New(name, model.Info{Supports: model.Supports{Multiturn: true, Tools: true, SystemRole: true, Constrained: "all", ToolChoice: true}}, e.generate)
		require.NoError(t, err)
		require.NoError(t, reg.Register(m))
	}
	reg.SetValue("defaultModel", "defaultModel", "test/echo")
	return reg, e
}

// messages renders p and returns its messages as JSON.
func messages(t testing.TB, p *prompt.Prompt, input string, history ...content.Message) string {
	t.Helper()
	opts, err := p.Render(t.Context(), json.RawMessage(input), &model.GenerateOptions{Messages: history})
	require.NoError(t, err)
	return text(t, opts.Messages)
}

func text(t testing.TB, v any) string {
	t.Helper()
	raw, err := rawjson.Encode(v)
	require.NoError(t, err)
	return string(raw)
}

func load(t testing.TB, reg *registry.Registry, name, source string) *prompt.Prompt {
	t.Helper()
	p, err := prompt.Load(reg, name, source)
	require.NoError(t, err)
	return p
}
