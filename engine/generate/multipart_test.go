package generate_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// newShotTool registers a multipart tool.
func newShotTool(t *testing.T, reg *registry.Registry) {
	t.Helper()
	register(t, reg)(tool.NewMultipart("shot", "", func(context.Context, any) (*tool.Result, error) {
		return &tool.Result{Output: false, Content: []content.Part{content.NewTextPart("a picture")}, Metadata: content.Metadata{"quality": json.RawMessage("1.50")}}, nil
	}))
}

const shotResponse = `{"toolResponse":{"name":"shot","ref":"2","output":false,"content":[{"text":"a picture"}]},"metadata":{"quality":1.50}}`

func TestAMultipartAnswerIsSpread(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, calls("plain#1", "shot#2"), says("done"))
	newShotTool(t, reg)
	newTool(t, reg, "plain", gives(7))
	run(t, reg, ask("/tool.v2/plain", "shot"))
	assert.JSONEq(t, `[{"toolResponse":{"name":"plain","ref":"1","output":7}},`+shotResponse+`]`, toJSON(t, m.request(t, 1).Messages[2].Content))
	defs := m.request(t, 0).Tools
	assert.Equal(t, []string{"", "/tool.v2/shot"}, []string{defs[0].Key, defs[1].Key})

	register(t, reg)(action.New(action.Desc{Kind: action.ToolV2, Name: "odd"}, func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return json.RawMessage(`7`), nil
	}))
	reg2 := registry.New(reg)
	newModel(t, reg2, calls("odd"))
	require.ErrorIs(t, runErr(t, reg2, ask("odd")), status.ErrInternal)
}

func TestAMultipartAnswerSurvivesAnInterrupt(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, calls("pay#1", "shot#2"), says("done"))
	newPayTool(t, reg)
	newShotTool(t, reg)
	resp := run(t, reg, ask("pay", "shot"))
	// The conversation goes through somebody's JSON in between.
	history := decode[[]content.Message](t, encode(t, resp.History()))
	opts := ask("pay", "shot")
	opts.Messages = *history
	part, err := tool.Respond(resp.Interrupts()[0], nil)
	require.NoError(t, err)
	opts.Resume = &model.Resume{Respond: []content.Part{part}}
	run(t, reg, opts)
	asked := m.request(t, 1).Messages
	assert.JSONEq(t, `{"toolResponse":{"name":"shot","ref":"2","output":false,"content":[{"text":"a picture"}]},"metadata":{"quality":1.50,"source":"pending"}}`,
		toJSON(t, asked[2].Content[1]))
	assert.JSONEq(t, `{"toolRequest":{"name":"shot","ref":"2","input":{}},"metadata":{}}`, toJSON(t, asked[1].Content[1]))
}

// host provides one tool of each form.
type host struct{ actions []action.Action }

func (*host) Name() string { return "host" }

func (h *host) List(context.Context) ([]action.Desc, error) {
	var descs []action.Desc
	for _, a := range h.actions {
		descs = append(descs, a.Desc())
	}
	return descs, nil
}

func (h *host) Resolve(_ context.Context, key action.Key) (action.Action, error) {
	for _, a := range h.actions {
		if a.Desc().Key() == key {
			return a, nil
		}
	}
	return nil, status.ErrNotFound
}

func TestToolsOfAProviderAreOfferedByWildcard(t *testing.T) {
	newHost := func(t *testing.T) *host {
		t.Helper()
		slug, err := tool.New("kit/slug", "", func(context.Context, any) (string, error) { return "slug", nil })
		require.NoError(t, err)
		shot, err := tool.NewMultipart("kit/shot", "", func(context.Context, any) (*tool.Result, error) { return &tool.Result{Output: "shot"}, nil })
		require.NoError(t, err)
		return &host{actions: []action.Action{slug, shot}}
	}
	for ref, want := range map[string][]string{
		"host:tool/*":        {"/dynamic-action-provider/host:tool.v2/kit/shot", "/dynamic-action-provider/host:tool/kit/slug"},
		"host:tool/kit/s*":   {"/dynamic-action-provider/host:tool.v2/kit/shot", "/dynamic-action-provider/host:tool/kit/slug"},
		"host:tool/kit/slug": {"/dynamic-action-provider/host:tool/kit/slug"},
		"own:x":              {""},
	} {
		reg := newRegistry(t)
		require.NoError(t, reg.AddProvider(newHost(t)))
		newTool(t, reg, "own:x", gives(1))
		m := newModel(t, reg, calls("slug#1", "shot#2"), says("done"))
		if len(want) < 2 {
			m.responses = []string{says("done")}
		}
		run(t, reg, ask(ref))
		var keys []string
		for _, d := range m.request(t, 0).Tools {
			keys = append(keys, d.Key)
		}
		assert.Equal(t, want, keys, ref)
		if len(want) == 2 {
			assert.JSONEq(t, `{"role":"tool","content":[{"toolResponse":{"name":"slug","ref":"1","output":"slug"}},{"toolResponse":{"name":"shot","ref":"2","output":"shot"}}]}`, toJSON(t, m.request(t, 1).Messages[2]))
		}
	}
	reg := newRegistry(t)
	require.NoError(t, reg.AddProvider(newHost(t)))
	newModel(t, reg)
	for _, ref := range []string{"host:tool/none*", "host:tool/none", "nobody:tool/*"} {
		require.ErrorIs(t, runErr(t, reg, ask(ref)), status.ErrNotFound, ref)
	}
	require.ErrorIs(t, runErr(t, reg, ask("host:model/*")), status.ErrInvalidArgument)
}
