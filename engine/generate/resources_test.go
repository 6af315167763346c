package generate_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func resourcePart(uri string) content.Part {
	return content.Part{Resource: &content.Resource{URI: uri}}
}

// newResource makes a resource that answers with text and the URI; a text that
// begins with "@" is the URI of another resource.
func newResource(t *testing.T, name string, c resource.Config, text string) action.Action {
	t.Helper()
	a, err := resource.New(name, c, func(_ context.Context, in resource.Input) ([]content.Part, error) {
		if other, nested := strings.CutPrefix(text, "@"); nested {
			return []content.Part{resourcePart(other), resourcePart(other)}, nil
		}
		return []content.Part{content.NewTextPart(text + " " + in.URI)}, nil
	})
	require.NoError(t, err)
	return a
}

func TestResourcesStandForTheirContent(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, calls("a"), says("done"))
	newTool(t, reg, "a", gives(1))
	require.NoError(t, reg.AddProvider(&host{actions: []action.Action{newResource(t, "", resource.Config{URI: "host://x"}, "provided")}}))
	for _, r := range []action.Action{
		newResource(t, "z", resource.Config{Template: "file:///{+path}"}, "z"),
		newResource(t, "y", resource.Config{Template: "file:///{name}"}, "y"),
		newResource(t, "", resource.Config{URI: "nest://1"}, "@file:///inner"),
	} {
		require.NoError(t, reg.Register(r))
	}
	opts := ask("a")
	opts.Resources = []string{"z"}
	opts.Messages = []content.Message{
		{Role: content.RoleSystem, Content: []content.Part{resourcePart("host://x")}},
		{Role: content.RoleUser, Content: []content.Part{content.NewTextPart("see"), resourcePart("file:///a"), resourcePart("dyn://1"), resourcePart("nest://1"), content.NewTextPart("!")}},
	}
	before := toJSON(t, opts)
	run(t, reg, opts, generate.WithResources(newResource(t, "", resource.Config{Template: "dyn://{id}", Dynamic: true}, "dynamic")))
	assert.Equal(t, before, toJSON(t, opts), "the caller's options")
	for turn := range 2 {
		asked := m.request(t, turn).Messages
		assert.JSONEq(t, `[{"text":"provided host://x","metadata":{"resource":{"uri":"host://x"}}}]`, toJSON(t, asked[0].Content))
		assert.JSONEq(t, `[{"text":"see"},
			{"text":"z file:///a","metadata":{"resource":{"uri":"file:///a","template":"file:///{+path}"}}},
			{"text":"dynamic dyn://1","metadata":{"resource":{"uri":"dyn://1","template":"dyn://{id}"}}},
			{"text":"z file:///inner","metadata":{"resource":{"uri":"file:///inner","template":"file:///{+path}"}}},
			{"text":"z file:///inner","metadata":{"resource":{"uri":"file:///inner","template":"file:///{+path}"}}},
			{"text":"!"}]`, toJSON(t, asked[1].Content))
	}
}

func TestResourcesAreMatchedInOrder(t *testing.T) {
	named := newResource(t, "named", resource.Config{Template: "x://{id}"}, "named")
	first := newResource(t, "aaa", resource.Config{Template: "x://{id}"}, "registered")
	for name, c := range map[string]struct {
		resources []string
		with      []action.Action
		want      string
	}{
		"registered, by key":      {nil, nil, "registered x://1"},
		"named in the options":    {[]string{"named"}, nil, "named x://1"},
		"brought before named":    {[]string{"named"}, []action.Action{newResource(t, "mine", resource.Config{Template: "x://{id}"}, "mine")}, "mine x://1"},
		"named that does not fit": {[]string{"other"}, nil, "registered x://1"},
	} {
		reg := newRegistry(t)
		m := newModel(t, reg, says("done"))
		for _, r := range []action.Action{named, first, newResource(t, "other", resource.Config{URI: "o://"}, "other")} {
			require.NoError(t, reg.Register(r))
		}
		opts := ask()
		opts.Resources = c.resources
		opts.Messages[0].Content = []content.Part{resourcePart("x://1")}
		run(t, reg, opts, generate.WithResources(c.with...))
		assert.Equal(t, c.want, m.request(t, 0).Messages[0].Text(), name)
	}
}

func TestResourcesThatCannotBeReadEndTheCall(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg)
	require.NoError(t, reg.Register(newResource(t, "", resource.Config{URI: "loop://"}, "@loop://")))
	fails, err := resource.New("", resource.Config{URI: "fails://"}, func(context.Context, resource.Input) ([]content.Part, error) {
		return nil, status.Errorf(status.Unavailable, "down")
	})
	require.NoError(t, err)
	require.NoError(t, reg.Register(fails))
	for uri, want := range map[string]status.Code{"loop://": status.FailedPrecondition, "fails://": status.Unavailable, "none://": status.NotFound} {
		opts := ask()
		opts.Messages[0].Content = []content.Part{resourcePart(uri)}
		err := runErr(t, reg, opts)
		assert.Equal(t, want, status.Of(err), uri)
		if want == status.NotFound {
			assert.Equal(t, "failed to find matching resource for none://", status.Convert(err).Message)
		}
	}
	opts := ask()
	opts.Resources = []string{"nope"}
	require.ErrorIs(t, runErr(t, reg, opts), status.ErrNotFound)
	for _, a := range []action.Action{nil, mustTool(t)} {
		require.ErrorIs(t, runErr(t, reg, ask(), generate.WithResources(a)), status.ErrInvalidArgument)
	}
	many := ask()
	for range 300 {
		many.Messages[0].Content = append(many.Messages[0].Content, resourcePart("ok://"))
	}
	child := registry.New(reg)
	require.NoError(t, child.Register(newResource(t, "", resource.Config{URI: "ok://"}, "ok")))
	require.ErrorIs(t, runErr(t, child, many), status.ErrFailedPrecondition)
	assert.Zero(t, m.calls())
}

func mustTool(t *testing.T) action.Action {
	t.Helper()
	reg := newRegistry(t)
	newTool(t, reg, "x", gives(1))
	a, err := reg.Lookup(t.Context(), action.Key{Kind: action.Tool, Name: "x"})
	require.NoError(t, err)
	return a
}
