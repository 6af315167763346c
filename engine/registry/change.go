package registry

import (
	"maps"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Changes are applied to a registry atomically: readers see all of them or none, and
// none is applied when one of them is not possible.
type Changes struct {
	// Remove takes actions out; one that is not there is no failure.
	Remove []action.Key
	// Add puts actions in whose keys must be free once Remove is done.
	Add []action.Action
	// Replace puts actions in the place of those of their keys.
	Replace []action.Action
	// Values puts values in, by kind and name, which must be free.
	Values []Value
}

// Value is a value with its kind and name.
type Value struct {
	Kind, Name string
	Value      any
}

// Apply makes changes. It fails with ALREADY_EXISTS when what is added is taken in the
// registry itself (not its parent), or comes twice, and with INVALID_ARGUMENT for an
// action that is nil.
func (r *Registry) Apply(c Changes) error {
	add, err := keyed(c.Add)
	if err != nil {
		return err
	}
	replace, err := keyed(c.Replace)
	if err != nil {
		return err
	}
	values := make(map[valueKey]any, len(c.Values))
	for _, v := range c.Values {
		key := valueKey{v.Kind, v.Name}
		if _, twice := values[key]; twice {
			return status.Publicf(status.AlreadyExists, "%s %q comes twice", v.Kind, v.Name)
		}
		values[key] = v.Value
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.free(c.Remove, add, replace, values); err != nil {
		return err
	}
	for _, key := range c.Remove {
		delete(r.actions, key)
	}
	maps.Copy(r.actions, add)
	maps.Copy(r.actions, replace)
	maps.Copy(r.values, values)
	return nil
}

// free checks that the new keys are not taken. r.mu is held.
func (r *Registry) free(remove []action.Key, add, replace map[action.Key]action.Action, values map[valueKey]any) error {
	removed := make(map[action.Key]bool, len(remove))
	for _, key := range remove {
		removed[key] = true
	}
	for key := range add {
		if _, taken := r.actions[key]; taken && !removed[key] {
			return status.Publicf(status.AlreadyExists, "action %q is already registered", key)
		}
		if replace[key] != nil {
			return status.Publicf(status.AlreadyExists, "action %q comes twice", key)
		}
	}
	for key := range values {
		if _, taken := r.values[key]; taken {
			return status.Publicf(status.AlreadyExists, "%s %q is already registered", key.kind, key.name)
		}
	}
	return nil
}

func keyed(actions []action.Action) (map[action.Key]action.Action, error) {
	m := make(map[action.Key]action.Action, len(actions))
	for _, a := range actions {
		if a == nil {
			return nil, status.Publicf(status.InvalidArgument, "an action to register is nil")
		}
		key := a.Desc().Key()
		if m[key] != nil {
			return nil, status.Publicf(status.AlreadyExists, "action %q comes twice", key)
		}
		m[key] = a
	}
	return m, nil
}
