package registry

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
)

// Entry is an action with the key by which it is named from outside: its own, or the
// one through its provider.
type Entry struct {
	Key  string
	Desc action.Desc
}

// MarshalJSON is that of [action.Desc] with the entry's key.
func (e Entry) MarshalJSON() ([]byte, error) {
	d := e.Desc
	return json.Marshal(struct {
		Key          string                     `json:"key"`
		Kind         action.Kind                `json:"type"`
		Name         string                     `json:"name"`
		Description  string                     `json:"description,omitempty"`
		InputSchema  json.RawMessage            `json:"inputSchema,omitempty"`
		OutputSchema json.RawMessage            `json:"outputSchema,omitempty"`
		StreamSchema json.RawMessage            `json:"streamSchema,omitempty"`
		InitSchema   json.RawMessage            `json:"initSchema,omitempty"`
		Metadata     map[string]json.RawMessage `json:"metadata,omitempty"`
	}{e.Key, d.Kind, d.Name, d.Description, d.InputSchema, d.OutputSchema, d.StreamSchema, d.InitSchema, d.Metadata})
}

func entries(provider string, descs []action.Desc) []Entry {
	list := make([]Entry, len(descs))
	for i, d := range descs {
		list[i] = Entry{Key: ProviderPrefix + provider + ":" + string(d.Kind) + "/" + d.Name, Desc: d}
	}
	return list
}

// Catalog is [Registry.List] for tools that show all actions: it adds the providers'
// own actions and, under the keys that lead through them, the actions of dynamic action
// providers. A fetch that this needs makes no span. Like List it returns what it could
// find beside an error; of a provider that fails its own action is listed and nothing else. An
// action that is described by invalid JSON is left out.
// (Genkit: listResolvableActions in js/core/src/registry.ts.)
func (r *Registry) Catalog(ctx context.Context) ([]Entry, error) {
	descs, err := r.List(ctx)
	descs, odd := Readable(descs)
	errs := []error{err, odd}
	list := make([]Entry, len(descs))
	for i, d := range descs {
		list[i] = Entry{Key: d.Key().String(), Desc: d}
	}
	seen := map[string]bool{}
	for reg := r; reg != nil; reg = reg.parent {
		for _, s := range reg.sources() {
			if seen[s.Name()] {
				continue
			}
			seen[s.Name()] = true
			list = append(list, Entry{Key: s.act.Desc().Key().String(), Desc: s.act.Desc()})
			if !qualified(s.Provider) {
				continue
			}
			descs, err := s.list(ctx, true)
			descs, odd := Readable(descs)
			errs = append(errs, err, odd)
			list = append(list, entries(s.Name(), descs)...)
		}
	}
	slices.SortStableFunc(list, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	return slices.CompactFunc(list, func(a, b Entry) bool { return a.Key == b.Key }), join(errs)
}

// join is errors.Join that leaves a lone error as it is.
func join(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
