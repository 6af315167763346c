package registry

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// ProviderPrefix begins the keys that lead through a provider, as in Genkit; before an
// expression it may be left out.
const ProviderPrefix = "/dynamic-action-provider/"

// Matcher is implemented by a [Provider] that need not list everything to find the actions
// whose names begin with a prefix. One that asks several others, as a host of MCP servers
// does, can leave out those that the prefix does not name, and their failures.
type Matcher interface {
	Match(ctx context.Context, prefix string) ([]action.Desc, error)
}

// Expanded is an action that an expression named.
type Expanded struct {
	Action action.Action
	// Key is the key by which this action of this provider can be named again:
	// "/dynamic-action-provider/<provider>:<kind>/<name>".
	Key string
}

// Expand reads "<provider>:<kind>/<pattern>" and returns the actions that it names, resolved
// through that provider and nobody else. The pattern is "*" for all, "pre*" for a
// prefix, else a name. A name may hold colons, and so may a provider's: the longest
// provider name that fits counts. The kind "tool" takes in the multipart tools of a
// provider. found is false when ref is no such expression.
//
// It fails with INVALID_ARGUMENT for a kind that is not among kinds and with
// NOT_FOUND when nothing fits the pattern. Genkit's source is resolveActionNames in
// js/core/src/registry.ts.
func (r *Registry) Expand(ctx context.Context, ref string, kinds ...action.Kind) (list []Expanded, found bool, err error) {
	text := strings.TrimPrefix(ref, ProviderPrefix)
	p := r.providerOf(text)
	if p == nil {
		return nil, false, nil
	}
	kind, pattern, ok := strings.Cut(text[len(p.Name())+1:], "/")
	if !ok || pattern == "" {
		return nil, true, status.Publicf(status.InvalidArgument, "%q: want \"<provider>:<kind>/<name>\", \"…/*\" or \"…/prefix*\"", ref)
	}
	if !slices.Contains(kinds, action.Kind(kind)) {
		return nil, true, status.Publicf(status.InvalidArgument, "%q does not name a %s", ref, kinds[0])
	}
	keys, err := keysOf(ctx, p, action.Kind(kind), pattern)
	if err != nil {
		return nil, true, err
	}
	for _, key := range keys {
		a, err := p.Resolve(ctx, key)
		if errors.Is(err, status.ErrNotFound) {
			continue // gone since it was listed, or of the other kind
		}
		if err != nil {
			return nil, true, err
		}
		if kind == string(action.ToolV2) {
			a = action.AsMultipart(a)
		}
		name := ProviderPrefix + p.Name() + ":" + string(a.Desc().Kind) + "/" + key.Name
		list = append(list, Expanded{Action: a, Key: name})
		if !strings.HasSuffix(pattern, "*") {
			break
		}
	}
	if len(list) == 0 {
		return nil, true, status.Publicf(status.NotFound, "provider %q has no %s that fits %q", p.Name(), kind, pattern)
	}
	return list, true, nil
}

// keysOf returns the keys to resolve. A provider is asked for a name even when it does
// not list it.
func keysOf(ctx context.Context, p Provider, kind action.Kind, pattern string) ([]action.Key, error) {
	if prefix, wild := strings.CutSuffix(pattern, "*"); wild {
		list := p.List
		if m, ok := p.(Matcher); ok {
			list = func(ctx context.Context) ([]action.Desc, error) { return m.Match(ctx, prefix) }
		}
		descs, err := list(ctx)
		return chosen(descs, kind, prefix), err
	}
	keys := []action.Key{{Kind: kind, Name: pattern}}
	switch kind {
	case action.Tool:
		keys = append(keys, action.Key{Kind: action.ToolV2, Name: pattern})
	case action.ToolV2:
		keys = append(keys, action.Key{Kind: action.Tool, Name: pattern})
	}
	return keys, nil
}

// providerOf returns the nearest provider whose name and a colon begin text, the
// longest name first.
func (r *Registry) providerOf(text string) (best Provider) {
	for reg := r; reg != nil; reg = reg.parent {
		for _, p := range reg.sources() {
			if strings.HasPrefix(text, p.Name()+":") && (best == nil || len(p.Name()) > len(best.Name())) {
				best = p.Provider
			}
		}
	}
	return best
}

// chosen returns the keys that fit, sorted by name. Both kinds of tool match: the kind
// that was asked for wins where a provider has both.
func chosen(descs []action.Desc, kind action.Kind, prefix string) []action.Key {
	byName := map[string]action.Kind{}
	for _, d := range descs {
		if !strings.HasPrefix(d.Name, prefix) || d.Kind != kind && !standsFor(d, kind) {
			continue
		}
		if byName[d.Name] != kind {
			byName[d.Name] = d.Kind
		}
	}
	keys := make([]action.Key, 0, len(byName))
	for name, kind := range byName {
		keys = append(keys, action.Key{Kind: kind, Name: name})
	}
	slices.SortFunc(keys, func(a, b action.Key) int { return strings.Compare(a.Name, b.Name) })
	return keys
}

func standsFor(d action.Desc, kind action.Kind) bool {
	return kind == action.Tool && d.Kind == action.ToolV2 || kind == action.ToolV2 && d.HasMultipart()
}
