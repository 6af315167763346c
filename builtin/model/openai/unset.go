package openai

import (
	"context"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

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
