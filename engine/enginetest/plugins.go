package enginetest

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Plugin holds a plugin to the contract of [registry.Plugin]. make returns a new one, which
// must be able to start.
func Plugin(t *testing.T, make func(t *testing.T) registry.Plugin) {
	t.Run("it has a name that stays", func(t *testing.T) {
		p := make(t)
		if p.Name() == "" || p.Name() != make(t).Name() {
			t.Fatalf("names %q and %q", p.Name(), make(t).Name())
		}
	})
	t.Run("it is added once to each registry", func(t *testing.T) {
		reg := added(t, make(t))
		err := reg.AddPlugin(t.Context(), make(t))
		want(t, err, status.ErrAlreadyExists, "a second plugin of the name")
		added(t, make(t))
		p := make(t)
		for range 2 { // two engines may be given the same value
			added(t, p)
		}
	})
	t.Run("listed actions resolve", func(t *testing.T) {
		reg := added(t, make(t))
		descs, err := reg.List(t.Context())
		want(t, err, nil, "List")
		for _, d := range descs {
			a, err := reg.Lookup(t.Context(), d.Key())
			if err != nil {
				t.Errorf("%s is listed and can't be had: %v", d.Key(), err)
				continue
			}
			if got := a.Desc(); got.Key() != d.Key() {
				t.Errorf("%s is listed and is %s", d.Key(), got.Key())
			}
		}
		want(t, reg.InitPlugins(t.Context()), nil, "InitPlugins")
		after, err := reg.List(t.Context())
		want(t, err, nil, "List")
		have := map[action.Key]bool{}
		for _, d := range after {
			have[d.Key()] = true
		}
		for _, d := range descs {
			if !have[d.Key()] {
				t.Errorf("%s is listed before the plugin starts and not after", d.Key())
			}
		}
	})
	t.Run("it starts once for many", func(t *testing.T) {
		p := make(t)
		reg := added(t, p)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := reg.InitPlugins(t.Context()); err != nil {
					t.Errorf("InitPlugins: %v", err)
				}
				_, err := reg.Lookup(t.Context(), action.Key{Kind: action.Custom, Name: p.Name() + "/none at all"})
				if err != nil && !errors.Is(err, status.ErrNotFound) {
					t.Errorf("resolving a name that the plugin does not have: %v, want NOT_FOUND", err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("actions made later have the plugin's name before theirs", func(t *testing.T) {
		p := make(t)
		reg := added(t, p)
		before := map[action.Key]bool{}
		eager := registry.New(nil)
		want(t, p.Register(t.Context(), eager), nil, "Register")
		descs, err := eager.List(t.Context())
		want(t, err, nil, "List")
		for _, d := range descs {
			before[d.Key()] = true
		}
		descs, err = reg.List(t.Context())
		want(t, err, nil, "List")
		for _, d := range descs {
			if !before[d.Key()] && !strings.HasPrefix(d.Name, p.Name()+"/") {
				t.Errorf("%s does not begin with %q", d.Key(), p.Name()+"/")
			}
		}
	})
}

func added(t *testing.T, p registry.Plugin) *registry.Registry {
	t.Helper()
	reg := registry.New(nil)
	if err := reg.AddPlugin(t.Context(), p); err != nil {
		t.Fatalf("AddPlugin of %q: %v", p.Name(), err)
	}
	return reg
}
