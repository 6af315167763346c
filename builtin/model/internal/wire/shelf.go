package wire

import (
	"context"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Shelf holds the actions of a provider: those that are listed, and as many of other ids as
// were asked for last. Set the fields, then call [Shelf.Put]; it is safe for concurrent use
// once all are put.
type Shelf struct {
	// Name is the provider's name, the first segment of its actions' names.
	Name string
	// Make makes the action of an id that is not listed.
	Make func(kind action.Kind, id string) (action.Action, error)

	listed map[action.Key]action.Action
	keys   []action.Key // of listed, in order

	mu       sync.Mutex // guards the fields below
	unlisted map[action.Key]action.Action
	order    []action.Key // keys of unlisted, oldest first
}

// maxUnlisted bounds how many models and embedders of unlisted ids are kept.
const maxUnlisted = 256

// Put lists an action; it replaces one of the same key.
func (s *Shelf) Put(a action.Action) {
	if s.listed == nil {
		s.listed = map[action.Key]action.Action{}
	}
	key := a.Desc().Key()
	s.keys = append(s.keys, key)
	s.listed[key] = a
}

// Descs describes what is listed. The slice is the caller's own.
func (s *Shelf) Descs() []action.Desc {
	descs := make([]action.Desc, 0, len(s.keys))
	for _, key := range s.keys {
		descs = append(descs, s.listed[key].Desc())
	}
	return Distinct(descs)
}

// Resolve returns the model of "/model/<name>/<id>" or the embedder of
// "/embedder/<name>/<id>", for any id: whether the server knows it shows when it is
// asked. Everything else is NOT_FOUND.
func (s *Shelf) Resolve(key action.Key) (action.Action, error) {
	id, mine := strings.CutPrefix(key.Name, s.Name+"/")
	if (key.Kind != action.Model && key.Kind != action.Embedder) || !mine || id == "" {
		return nil, status.Publicf(status.NotFound, "%s %q not found", key.Kind, key.Name)
	}
	if a := s.listed[key]; a != nil {
		return a, nil
	}
	if a := s.kept(key); a != nil {
		return a, nil
	}
	a, err := s.Make(key.Kind, id)
	if err != nil {
		return nil, err
	}
	return s.keep(key, a), nil
}

// Unlisted returns how many actions of unlisted ids are kept.
func (s *Shelf) Unlisted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.unlisted)
}

func (s *Shelf) kept(key action.Key) action.Action {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unlisted[key]
}

// keep returns the action that another call may have kept meanwhile, else a.
func (s *Shelf) keep(key action.Key, a action.Action) action.Action {
	s.mu.Lock()
	defer s.mu.Unlock()
	if earlier := s.unlisted[key]; earlier != nil {
		return earlier
	}
	if s.unlisted == nil {
		s.unlisted = map[action.Key]action.Action{}
	}
	if len(s.order) == maxUnlisted {
		delete(s.unlisted, s.order[0])
		s.order = s.order[1:]
	}
	s.unlisted[key] = a
	s.order = append(s.order, key)
	return a
}

// Unset stands in for a provider that is not configured, so that asking for one of its
// models names the missing setting instead of NOT_FOUND: FAILED_PRECONDITION with hint, such
// as "set OPENAI_API_KEY". It lists nothing.
func Unset(name, hint string) registry.Provider { return unset{name, hint} }

type unset struct{ name, hint string }

func (u unset) Name() string { return u.name }

func (u unset) List(context.Context) ([]action.Desc, error) { return nil, nil }

func (u unset) Resolve(_ context.Context, key action.Key) (action.Action, error) {
	if (key.Kind == action.Model || key.Kind == action.Embedder) && strings.HasPrefix(key.Name, u.name+"/") {
		return nil, status.Publicf(status.FailedPrecondition, "%s %q: the provider %q is not set up: %s", key.Kind, key.Name, u.name, u.hint)
	}
	return nil, status.Publicf(status.NotFound, "%s %q not found", key.Kind, key.Name)
}
