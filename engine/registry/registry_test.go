package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func newAction(t testing.TB, kind action.Kind, name, result string) action.Action {
	t.Helper()
	a, err := action.New(action.Desc{Kind: kind, Name: name, Description: result}, func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return json.RawMessage(result), nil
	})
	require.NoError(t, err)
	return a
}

// provider serves a fixed set; broken makes it fail instead.
type provider struct {
	name    string
	actions []action.Action
	values  map[string]any
	broken  error
}

func (p *provider) Name() string { return p.name }

func (p *provider) List(context.Context) ([]action.Desc, error) {
	descs := make([]action.Desc, len(p.actions))
	for i, a := range p.actions {
		descs[i] = a.Desc()
	}
	return descs, p.broken
}

func (p *provider) Resolve(_ context.Context, key action.Key) (action.Action, error) {
	if p.broken != nil {
		return nil, p.broken
	}
	for _, a := range p.actions {
		if a.Desc().Key() == key {
			return a, nil
		}
	}
	return nil, fmt.Errorf("provider %s: %w", p.name, status.ErrNotFound)
}

func (p *provider) Values(kind string) map[string]any {
	if kind == "format" {
		return p.values
	}
	return nil
}

func result(t *testing.T, a action.Action, err error) string {
	t.Helper()
	require.NoError(t, err)
	out, err := a.RunJSON(t.Context(), nil, nil)
	require.NoError(t, err)
	return string(out)
}

func TestResolutionOrderIsOwnProvidersParent(t *testing.T) {
	parent := registry.New(nil)
	require.NoError(t, parent.Register(newAction(t, action.Tool, "a", "1")))
	require.NoError(t, parent.Register(newAction(t, action.Tool, "b", "2")))
	require.NoError(t, parent.AddProvider(&provider{name: "p", actions: []action.Action{newAction(t, action.Tool, "a", "3"), newAction(t, action.Tool, "c", "4")}}))
	child := registry.New(parent)
	require.NoError(t, child.AddProvider(&provider{name: "p", actions: []action.Action{newAction(t, action.Tool, "b", "5")}}))
	for name, want := range map[string]string{"a": "1", "b": "5", "c": "4"} {
		a, err := child.Lookup(t.Context(), action.Key{Kind: action.Tool, Name: name})
		assert.Equal(t, want, result(t, a, err), name)
	}
	a, err := parent.Lookup(t.Context(), action.Key{Kind: action.Tool, Name: "b"})
	assert.Equal(t, "2", result(t, a, err), "a child changes nothing for its parent")
	descs, err := child.List(t.Context())
	require.NoError(t, err)
	var got []string
	for _, d := range descs {
		got = append(got, string(d.Kind)+" "+d.Name+d.Description)
	}
	assert.Equal(t, []string{"tool.v2 a1", "tool.v2 b5", "tool.v2 c4", "tool a1", "tool b5", "tool c4"}, got)
}

func TestResolveReadsWhatAPersonWrites(t *testing.T) {
	reg := registry.New(nil)
	for name, kind := range map[string]action.Kind{"kit/slug": action.Tool, "x/twin": action.Tool, "y/twin": action.Tool, "v": action.ToolV2, "m": action.Model} {
		require.NoError(t, reg.Register(newAction(t, kind, name, `"`+name+`"`)))
	}
	kinds := []action.Kind{action.Tool, action.ToolV2}
	for ref, want := range map[string]string{"kit/slug": "kit/slug", "slug": "kit/slug", "/tool/kit/slug": "kit/slug", "v": "v", "/tool.v2/v": "v", "x/twin": "x/twin"} {
		a, err := reg.Resolve(t.Context(), ref, kinds...)
		assert.Equal(t, `"`+want+`"`, result(t, a, err), ref)
	}
	for ref, want := range map[string]error{
		"m": status.ErrNotFound, "nope": status.ErrNotFound, "kit/nope": status.ErrNotFound, "/tool/nope": status.ErrNotFound,
		"twin": status.ErrInvalidArgument, "/model/m": status.ErrInvalidArgument, "": status.ErrInvalidArgument, "/tool": status.ErrInvalidArgument,
	} {
		_, err := reg.Resolve(t.Context(), ref, kinds...)
		require.ErrorIs(t, err, want, ref)
		assert.True(t, status.Convert(err).Public(), ref)
	}
}

func TestNamesAreTakenOnce(t *testing.T) {
	reg := registry.New(nil)
	a := newAction(t, action.Tool, "a", "1")
	require.NoError(t, reg.Register(a))
	require.ErrorIs(t, reg.Register(a), status.ErrAlreadyExists)
	require.NoError(t, registry.New(reg).Register(a), "a child may shadow")
	reg.Replace(newAction(t, action.Tool, "a", "2"))
	got, err := reg.Lookup(t.Context(), a.Desc().Key())
	assert.Equal(t, "2", result(t, got, err))
	assert.True(t, reg.Unregister(a.Desc().Key()))
	assert.False(t, reg.Unregister(a.Desc().Key()))
	require.NoError(t, reg.AddProvider(&provider{name: "p"}))
	require.ErrorIs(t, reg.AddProvider(&provider{name: "p"}), status.ErrAlreadyExists)
	require.NoError(t, reg.RegisterValue("k", "n", 1))
	require.ErrorIs(t, reg.RegisterValue("k", "n", 1), status.ErrAlreadyExists)
}

func TestABrokenProviderIsNotTakenForAMissingAction(t *testing.T) {
	reg := registry.New(nil)
	require.NoError(t, reg.AddProvider(&provider{name: "p", broken: status.Errorf(status.Unavailable, "down")}))
	_, err := reg.Lookup(t.Context(), action.Key{Kind: action.Tool, Name: "a"})
	require.ErrorIs(t, err, status.ErrUnavailable)
	_, err = reg.List(t.Context())
	require.ErrorIs(t, err, status.ErrUnavailable)
	_, err = reg.Resolve(t.Context(), "a", action.Tool)
	require.ErrorIs(t, err, status.ErrUnavailable)
}

func TestValuesAreInheritedAndProvided(t *testing.T) {
	parent := registry.New(nil)
	parent.SetValue("format", "a", 1)
	parent.SetValue("format", "kit/b", 2)
	parent.SetValue("other", "a", 3)
	child := registry.New(parent)
	require.NoError(t, child.AddProvider(&provider{name: "p", values: map[string]any{"a": 4, "mod/c": 5}}))
	assert.Equal(t, map[string]any{"a": 4, "kit/b": 2, "mod/c": 5}, child.Values("format"))
	assert.Equal(t, map[string]any{"a": 1, "kit/b": 2}, parent.Values("format"))
	v, ok := child.Value("other", "a")
	assert.True(t, ok)
	assert.Equal(t, 3, v)
	for ref, want := range map[string]any{"a": 4, "b": 2, "c": 5, "mod/c": 5} {
		v, err := child.ResolveValue("format", ref)
		require.NoError(t, err, ref)
		assert.Equal(t, want, v, ref)
	}
	_, err := child.ResolveValue("format", "nope")
	require.ErrorIs(t, err, status.ErrNotFound)
	_, err = child.ResolveValue("format", "")
	require.ErrorIs(t, err, status.ErrNotFound)
	child.SetValue("format", "x/b", 6)
	_, err = child.ResolveValue("format", "b")
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Contains(t, err.Error(), "kit/b, x/b")
}

func TestARegistryIsSharedByManyGoroutines(t *testing.T) {
	reg := registry.New(registry.New(nil))
	require.NoError(t, reg.AddProvider(&provider{name: "p", actions: []action.Action{newAction(t, action.Tool, "p/x", "1")}}))
	actions := []action.Action{newAction(t, action.Tool, "a", "1"), newAction(t, action.Tool, "b", "1")}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				a := actions[i%2]
				reg.Replace(a)
				_, _ = reg.Lookup(t.Context(), a.Desc().Key())
				_, _ = reg.Resolve(t.Context(), "x", action.Tool)
				reg.SetValue("k", "n", i)
				_ = reg.Values("k")
				reg.Unregister(a.Desc().Key())
			}
		})
	}
	wg.Wait()
}
