package middleware

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// List describes every middleware in reg, by name. Values that are no factories are left
// out.
func List(reg *registry.Registry) []Desc {
	var all []Desc
	for name, value := range reg.Values(Kind) {
		if f, ok := value.(Factory); ok {
			d := f.Desc()
			d.Name = name // by which it is used
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b Desc) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Descriptors returns the MiddlewareDesc of every middleware in reg, as JSON by name:
// what GET /api/values?type=middleware answers. Values that are no factories are
// left out.
func Descriptors(reg *registry.Registry) (map[string]json.RawMessage, error) {
	descs := map[string]json.RawMessage{}
	for name, value := range reg.Values(Kind) {
		f, ok := value.(Factory)
		if !ok {
			continue
		}
		raw, err := rawjson.Encode(f.Desc())
		if err != nil {
			return nil, status.Errorf(status.Internal, "describe middleware %q: %w", name, err)
		}
		descs[name] = raw
	}
	return descs, nil
}

// Plugin registers factories when an engine starts. Each is made once, then; its
// plugin is named "middleware:" and the name (Genkit JS: mw.plugin).
func Plugin(name string, make func() (Factory, error)) registry.Plugin {
	return plugin{name, make}
}

type plugin struct {
	name string
	make func() (Factory, error)
}

func (p plugin) Name() string { return "middleware:" + p.name }

func (p plugin) Register(_ context.Context, r *registry.Registry) error {
	f, err := p.make()
	if err != nil {
		return err
	}
	return Register(r, f)
}
