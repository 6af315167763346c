package flowserver

import (
	"errors"
	"net/http"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// fenced answers what a browser may ask and refuses what it may not, and then serves
// the flow that find returns.
func (s *Server) fenced(find func(*http.Request) (Flow, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.origins.answer(w, r) {
			return
		}
		if err := s.origins.check(r); err != nil {
			s.fail(w, r, err)
			return
		}
		f, err := find(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		_ = s.Serve(w, r, f) // it has been answered and logged
	})
}

func noFlow(name string) error {
	return status.Publicf(status.NotFound, "flow %q not found", name)
}

// Flows serves several flows, each at prefix + its path, as Genkit's startFlowServer
// does. It fails with ALREADY_EXISTS when two have the same path.
func (s *Server) Flows(prefix string, flows ...Flow) (http.Handler, error) {
	prefix = "/" + strings.TrimPrefix(prefix, "/")
	table := make(map[string]Flow, len(flows))
	for _, f := range flows {
		if f.Action == nil {
			return nil, status.Errorf(status.InvalidArgument, "flowserver: a flow without an action")
		}
		path := f.Path
		if path == "" {
			path = f.Action.Desc().Name
		}
		if _, taken := table[path]; taken {
			return nil, status.Errorf(status.AlreadyExists, "flowserver: two flows at %q", prefix+path)
		}
		table[path] = f
	}
	return s.fenced(func(r *http.Request) (Flow, error) {
		name, below := strings.CutPrefix(r.URL.Path, prefix)
		f, ok := table[name]
		if !below || !ok {
			return Flow{}, noFlow(name)
		}
		return f, nil
	}), nil
}

// Registry serves every flow of a registry at prefix + its name, also those that come
// later.
func (s *Server) Registry(prefix string, reg *registry.Registry) http.Handler {
	prefix = "/" + strings.TrimPrefix(prefix, "/")
	return s.fenced(func(r *http.Request) (Flow, error) {
		name, below := strings.CutPrefix(r.URL.Path, prefix)
		if !below || name == "" {
			return Flow{}, noFlow(name)
		}
		a, err := reg.Lookup(r.Context(), action.Key{Kind: action.Flow, Name: name})
		if err != nil {
			return Flow{}, err
		}
		return Flow{Action: a}, nil
	})
}

// companions are the routes below an agent, as Genkit's clients ask for them.
var companions = []struct {
	path string
	kind action.Kind
}{
	{"/getSnapshot", action.AgentSnapshot},
	{"/abort", action.AgentAbort},
}

// Agents serves every agent of a registry at prefix + its name, also those that come
// later: POST {"data": AgentInput, "init"?: AgentInit}, one turn of which the answer or stream is
// that of a bidirectional flow. Below it stand /getSnapshot and /abort, which take {"data": {"snapshotId"}}. Who
// may use which snapshot is for a provider of the context to say, which sees the input.
func (s *Server) Agents(prefix string, reg *registry.Registry) http.Handler {
	prefix = "/" + strings.TrimPrefix(prefix, "/")
	return s.fenced(func(r *http.Request) (Flow, error) {
		name, below := strings.CutPrefix(r.URL.Path, prefix)
		if !below || name == "" {
			return Flow{}, status.Publicf(status.NotFound, "agent %q not found", name)
		}
		for _, c := range companions {
			agent, found := strings.CutSuffix(name, c.path)
			if !found {
				continue
			}
			a, err := reg.Lookup(r.Context(), action.Key{Kind: c.kind, Name: agent})
			if err == nil {
				return Flow{Action: a, Plain: true}, nil
			}
			if !errors.Is(err, status.ErrNotFound) {
				return Flow{}, err
			}
		}
		a, err := reg.Lookup(r.Context(), action.Key{Kind: action.Agent, Name: name})
		if errors.Is(err, status.ErrNotFound) {
			return Flow{}, status.Publicf(status.NotFound, "agent %q not found", name)
		}
		return Flow{Action: a}, err
	})
}
