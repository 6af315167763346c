package resource

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Ref says which resource is meant: a [Name], or a [Resource] itself. Only this package
// makes references.
type Ref interface {
	// Name returns the name of the resource, or the expression that matches several.
	Name() string
	// target returns the resource, nil when only its name is known.
	target() action.Action
}

// Name is a reference to a registered resource: its name or key, or an expression for
// those of a provider such as "shop:resource/*".
type Name string

// Name returns the name itself.
func (n Name) Name() string { return string(n) }

func (Name) target() action.Action { return nil }

// Target returns the resource that a reference holds; nil for a [Name].
func Target(r Ref) action.Action { return r.target() }

// Resource is a resource, registered or not. [New] makes one; [From] makes one of an
// action.
type Resource interface {
	action.Action
	Ref
	// Matches reports whether the resource answers for a URI.
	Matches(uri string) bool
	// Read fetches the content of a URI.
	Read(ctx context.Context, uri string) ([]content.Part, error)
}

// From returns an action of kind resource as a [Resource]; INVALID_ARGUMENT for another.
func From(a action.Action) (Resource, error) {
	if r, ok := a.(Resource); ok {
		return r, nil
	}
	if a == nil || a.Desc().Kind != action.Resource {
		return nil, status.Publicf(status.InvalidArgument, "the action is not a resource")
	}
	return erased{a}, nil
}

type erased struct{ action.Action }

func (r erased) Name() string            { return r.Desc().Name }
func (r erased) target() action.Action   { return r.Action }
func (r erased) Matches(uri string) bool { return Matches(r.Desc(), uri) }

func (r erased) Read(ctx context.Context, uri string) ([]content.Part, error) {
	return Read(ctx, r.Action, uri)
}
