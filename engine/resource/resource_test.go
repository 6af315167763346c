package resource_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestTemplatesMatchWhatTheyExpandTo(t *testing.T) {
	for _, c := range []struct{ template, uri, want string }{
		{"a://{id}", "a://7", "id=7"},
		{"a://{id}", "a://x%2Fy%C3%A9", "id=x/yé"},
		{"a://{id}", "a://é", "id=é"},
		{"a://{id}", "a://", "-"},
		{"a://{id}", "a://x/y", "-"},
		{"a://{id}", "a://%zz", "-"},
		{"a://{id}", "b://x", "-"},
		{"a://{id}/rest", "a://x/rest/", "-"},
		{"a.c", "abc", "-"},
		{"{x,y}", "1,2", "x=1 y=2"},
		{"file:///{+path}", "file:///a/b?c#d", "path=a/b?c#d"},
		{"file:///{+path}", "file:///a b", "-"},
		{"{+x,y}/here", "1024,768/here", "x=1024 y=768"},
		{"x{#frag}", "x#a/b", "frag=a/b"},
		{"x{.ext}", "x.tar", "ext=tar"},
		{"x{.a,b}", "x.tar.gz", "a=tar b=gz"},
		{"x{/a,b}", "x/1/2", "a=1 b=2"},
		{"x{;a,b}", "x;a=1;b", "a=1"},
		{"x{;a,b}", "x;b=2", "b=2"},
		{"x{?q,lang}", "x?q=cat&lang=en", "q=cat lang=en"},
		{"x{?q,lang}", "x?lang=en", "lang=en"},
		{"x{?q,lang}", "x?q=", "q="},
		{"x{?q,lang}", "x", ""},
		{"x{?q}", "x?other=1", "-"},
		{"x?fixed=1{&q}", "x?fixed=1&q=2", "q=2"},
		{"plain", "plain", ""},
	} {
		tmpl, err := resource.ParseTemplate(c.template)
		require.NoError(t, err, c.template)
		variables, ok := tmpl.Match(c.uri)
		got := "-"
		if ok {
			var list []string
			for _, name := range []string{"id", "path", "frag", "ext", "a", "b", "x", "y", "q", "lang"} {
				if v, there := variables[name]; there {
					list = append(list, name+"="+v)
				}
			}
			got = strings.Join(list, " ")
		}
		assert.Equal(t, c.want, got, "%s against %s", c.uri, c.template)
	}
	for _, bad := range []string{"{", "}", "a}b{", "{}", "{x", "{x:3}", "{x*}", "{=x}", "{x y}", "{x}{x}", "{+}", strings.Repeat("x", 3000)} {
		_, err := resource.ParseTemplate(bad)
		require.ErrorIs(t, err, status.ErrInvalidArgument, bad)
	}
	tmpl, err := resource.ParseTemplate("{+x}")
	require.NoError(t, err)
	_, ok := tmpl.Match(strings.Repeat("x", 9000))
	assert.False(t, ok)
}

func TestResourcesAreDescribedAndRun(t *testing.T) {
	a, err := resource.New("", resource.Config{
		Template: "note://{id}", Description: "A note.", Metadata: map[string]json.RawMessage{"mine": json.RawMessage("1")},
	}, func(_ context.Context, in resource.Input) ([]content.Part, error) {
		inner := content.NewTextPart("inner")
		inner.Metadata = content.Metadata{"resource": json.RawMessage(`{"uri":"file:///x"}`), "k": content.True()}
		return []content.Part{content.NewTextPart(in.Variables["id"]), inner}, nil
	})
	require.NoError(t, err)
	d := a.Desc()
	assert.Equal(t, "/resource/note://{id}", d.Key().String())
	raw, err := json.Marshal(d.Metadata)
	require.NoError(t, err)
	assert.JSONEq(t, `{"resource":{"template":"note://{id}"},"mine":1,"type":"resource","dynamic":false}`, string(raw))
	assert.True(t, resource.Matches(d, "note://7"))
	assert.False(t, resource.Matches(d, "note://"))
	assert.False(t, resource.Matches(action.Desc{Kind: action.Tool}, "note://7"))
	for _, broken := range []string{`7`, `{}`, `{"template":"{"}`} {
		assert.False(t, resource.Matches(action.Desc{Kind: action.Resource, Metadata: map[string]json.RawMessage{"resource": json.RawMessage(broken)}}, "x"), broken)
	}

	out, err := a.RunJSON(t.Context(), json.RawMessage(`{"uri":"note://7"}`), nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"content":[{"text":"7","metadata":{"resource":{"uri":"note://7","template":"note://{id}"}}},
		{"text":"inner","metadata":{"k":true,"resource":{"uri":"file:///x","parent":{"uri":"note://7","template":"note://{id}"}}}}]}`, string(out))
	for _, in := range []string{`{"uri":"other://7"}`, `{}`, `{"uri":7}`} {
		_, err = a.RunJSON(t.Context(), json.RawMessage(in), nil)
		require.ErrorIs(t, err, status.ErrInvalidArgument, in)
	}

	both, err := resource.New("both", resource.Config{URI: "x://1", Template: "x://{id}", Dynamic: true}, func(context.Context, resource.Input) ([]content.Part, error) { return nil, nil })
	require.NoError(t, err)
	assert.True(t, resource.Matches(both.Desc(), "x://1"))
	assert.False(t, resource.Matches(both.Desc(), "x://2"), "with both, the URI alone counts")
	assert.JSONEq(t, `true`, string(both.Desc().Metadata["dynamic"]))
	parts, err := resource.Read(t.Context(), both, "x://1")
	require.NoError(t, err)
	assert.Empty(t, parts)

	for _, bad := range []resource.Config{{}, {Dynamic: true}, {Template: "{"}} {
		_, err := resource.New("x", bad, nil)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("a://{id}{?q,r}", "a://1?q=2")
	f.Add("{+x}{#y}", "a#b")
	f.Fuzz(func(_ *testing.T, template, uri string) {
		if t, err := resource.ParseTemplate(template); err == nil {
			t.Match(uri)
		}
	})
}
