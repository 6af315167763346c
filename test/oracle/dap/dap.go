// Package dap asks a registry of this engine and one of Genkit JS, each with the same
// dynamic action providers, what they find.
//
// It owns the keys that are asked for (testdata/keys.json) and what JS answers
// (testdata/js.json, recorded, and checked against JS itself where that is installed). Use:
//
//	answers, err := dap.Ours(ctx, keys)
//
// Functions here are safe for concurrent use.
package dap

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// Answers are the answers of a registry.
type Answers struct {
	// Lookups are the keys of what was found, nil for nothing and "fails" for an error.
	Lookups map[string]any `json:"lookups"`
	// Names are the keys that match an expression.
	Names map[string]any `json:"names"`
	// Catalog are all keys that can be shown.
	Catalog  []string        `json:"catalog"`
	Provider json.RawMessage `json:"provider"`
	List     []Listed        `json:"list"`
}

// Listed is a provider's description of one of its actions.
type Listed struct {
	Key         string `json:"key"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

// Differences are the deliberate deviations from Genkit JS, by the key at which they
// show.
var Differences = map[string]string{
	"/dynamic-action-provider/host:tool/*":   "matches of a pattern are sorted by name; JS keeps the order of the fetch",
	"/dynamic-action-provider/host:tool/a:b": "a name may hold a colon; JS cuts it there",
}

// Ours asks this engine's registry.
func Ours(ctx context.Context, keys []string) (*Answers, error) {
	reg, err := build()
	if err != nil {
		return nil, err
	}
	a := &Answers{Lookups: map[string]any{}, Names: map[string]any{}}
	for _, ref := range keys {
		key, err := action.ParseKey(ref)
		if err != nil {
			return nil, err
		}
		_, err = reg.Lookup(ctx, key)
		switch {
		case err == nil:
			a.Lookups[ref] = ref
		case errors.Is(err, status.ErrNotFound) || errors.Is(err, status.ErrInvalidArgument):
			a.Lookups[ref] = nil
		default:
			a.Lookups[ref] = "fails"
		}
		a.Names[ref] = names(ctx, reg, ref, a.Lookups[ref])
	}
	return a, a.show(ctx, reg)
}

// names is the result of Genkit's resolveActionNames.
func names(ctx context.Context, reg *registry.Registry, ref string, found any) any {
	list := []any{}
	all, expression, err := reg.Expand(ctx, ref, action.Tool, action.ToolV2, action.Resource, action.Model)
	if !expression {
		if found != nil {
			list = append(list, found)
		}
		return list
	}
	if err != nil && !errors.Is(err, status.ErrNotFound) {
		return "fails"
	}
	for _, e := range all {
		list = append(list, e.Key)
	}
	return list
}

func (a *Answers) show(ctx context.Context, reg *registry.Registry) error {
	catalog, err := reg.Catalog(ctx)
	if err == nil {
		return status.Errorf(status.Internal, "a provider that is down is not told of")
	}
	for _, e := range catalog {
		a.Catalog = append(a.Catalog, e.Key)
	}
	host, err := reg.Lookup(ctx, action.Key{Kind: action.DynamicActionProvider, Name: "host"})
	if err != nil {
		return err
	}
	d := host.Desc()
	if a.Provider, err = json.Marshal(map[string]any{"key": d.Key().String(), "name": d.Name, "description": d.Description, "metadata": d.Metadata}); err != nil {
		return err
	}
	out, err := host.RunJSON(ctx, nil, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, &a.List)
}

func build() (*registry.Registry, error) {
	reg := registry.New(nil)
	host, err := registry.NewDynamic("host", registry.DynamicConfig{Description: "A host.", Metadata: map[string]json.RawMessage{"k": json.RawMessage("1")}}, func(context.Context) ([]action.Action, error) {
		return tools("x", "xy", "kit/z", "a:b")
	})
	if err != nil {
		return nil, err
	}
	down, err := registry.NewDynamic("down", registry.DynamicConfig{}, func(context.Context) ([]action.Action, error) {
		return nil, status.Errorf(status.Unavailable, "down")
	})
	if err != nil {
		return nil, err
	}
	own, err := tools("own")
	if err != nil {
		return nil, err
	}
	return reg, errors.Join(reg.AddProvider(host), reg.AddProvider(down), reg.Register(own[0]))
}

func tools(names ...string) ([]action.Action, error) {
	var list []action.Action
	for _, name := range names {
		t, err := tool.New(name, "is "+name, func(context.Context, any) (string, error) { return name, nil })
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}
