package registry_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestExpressionsNameTheToolsOfAProvider(t *testing.T) {
	reg := registry.New(nil)
	require.NoError(t, reg.Register(newAction(t, action.Tool, "a", `"own"`)))
	require.NoError(t, reg.AddProvider(&provider{name: "host", actions: []action.Action{
		newAction(t, action.Tool, "b:c", `"b:c"`), newAction(t, action.Tool, "a", `"a"`), newAction(t, action.ToolV2, "ab", `"ab"`), newAction(t, action.Model, "m", `"m"`),
	}}))
	require.NoError(t, reg.AddProvider(&provider{name: "host:tool/x", actions: []action.Action{newAction(t, action.Tool, "y", `"y"`)}}))
	child := registry.New(reg)
	for ref, want := range map[string][]string{
		"host:tool/*":                          {"tool/a", "tool.v2/ab", "tool/b:c"},
		"host:tool/a*":                         {"tool/a", "tool.v2/ab"},
		"host:tool/a":                          {"tool/a"},
		"host:tool/ab":                         {"tool.v2/ab"},
		"host:tool/b:c":                        {"tool/b:c"},
		"host:tool.v2/a*":                      {"tool.v2/a", "tool.v2/ab"},
		"/dynamic-action-provider/host:tool/a": {"tool/a"},
		"host:tool/x:tool/y":                   {"tool/y"},
	} {
		list, found, err := child.Expand(t.Context(), ref, action.Tool, action.ToolV2)
		require.NoError(t, err, ref)
		require.True(t, found, ref)
		var got []string
		for _, e := range list {
			d := e.Action.Desc()
			got = append(got, string(d.Kind)+"/"+d.Name)
			assert.Contains(t, e.Key, "/dynamic-action-provider/host:tool")
		}
		assert.Equal(t, want, got, ref)
	}
	list, _, err := child.Expand(t.Context(), "host:tool/a", action.Tool)
	require.NoError(t, err)
	assert.Equal(t, `"a"`, result(t, list[0].Action, nil), "the provider's, not the one that shadows it")
	for ref, want := range map[string]error{
		"host:tool/nope": status.ErrNotFound, "host:tool/z*": status.ErrNotFound,
		"host:model/m": status.ErrInvalidArgument, "host:tool": status.ErrInvalidArgument, "host:tool/": status.ErrInvalidArgument, "host:": status.ErrInvalidArgument,
	} {
		_, found, err := child.Expand(t.Context(), ref, action.Tool, action.ToolV2)
		assert.True(t, found, ref)
		require.ErrorIs(t, err, want, ref)
	}
	_, found, err := child.Expand(t.Context(), "elsewhere:tool/*", action.Tool)
	require.NoError(t, err)
	assert.False(t, found)
	down := status.Errorf(status.Unavailable, "down")
	require.NoError(t, child.AddProvider(&provider{name: "down", broken: down}))
	for _, ref := range []string{"down:tool/*", "down:tool/a"} {
		_, _, err = child.Expand(t.Context(), ref, action.Tool)
		require.ErrorIs(t, err, status.ErrUnavailable, ref)
	}
}

func TestToolsHaveTwoForms(t *testing.T) {
	parent := registry.New(nil)
	require.NoError(t, parent.Register(newAction(t, action.Tool, "a", `1`)))
	require.NoError(t, parent.Register(newAction(t, action.ToolV2, "m", `{"output":2}`)))
	child := registry.New(parent)
	require.NoError(t, child.Register(newAction(t, action.Tool, "a", `3`)))
	require.NoError(t, child.Register(newAction(t, action.ToolV2, "b", `{}`)))
	require.NoError(t, parent.Register(newAction(t, action.Tool, "b", `4`)))
	for key, want := range map[string]string{
		"/tool/a": `3`, "/tool.v2/a": `{"output":3}`, "/tool.v2/m": `{"output":2}`, "/tool.v2/b": `{}`, "/tool/b": `4`, "b": `{}`, "a": `3`,
	} {
		a, err := child.Resolve(t.Context(), key, action.Tool, action.ToolV2)
		assert.JSONEq(t, want, result(t, a, err), key)
		if d := a.Desc(); d.Kind == action.ToolV2 && d.Name == "a" {
			assert.JSONEq(t, string(action.MultipartSchema), string(d.OutputSchema))
			assert.JSONEq(t, `"tool.v2"`, string(d.Metadata["type"]))
			assert.JSONEq(t, `{"multipart":true}`, string(d.Metadata["tool"]))
			assert.Equal(t, action.Tool, action.Plain(a).Desc().Kind)
		}
	}
	_, err := child.Lookup(t.Context(), action.Key{Kind: action.Tool, Name: "m"})
	require.ErrorIs(t, err, status.ErrNotFound, "a multipart tool has no plain form")
}
