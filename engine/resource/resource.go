// Package resource is the noun "resource": content that is fetched by URI and put
// into the messages before a model sees them.
//
// It owns the wire types, the matching of URIs against templates, and the note of
// where a part came from. A resource is an action of kind resource, {uri} in and
// {content} out. Use:
//
//	menu, err := resource.New("menu", resource.Config{URI: "menu://today"}, func(ctx context.Context, in resource.Input) ([]content.Part, error) { … })
//	file, err := resource.New("file", resource.Config{Template: "file:///{+path}"}, func(ctx context.Context, in resource.Input) ([]content.Part, error) {
//		return read(in.Variables["path"])
//	})
//
// Resources are safe for concurrent use when their function is.
package resource

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Config describes a resource. One of URI and Template is needed; with both, the URI
// alone is matched, as in Genkit JS.
type Config struct {
	Description string
	URI         string
	// Template is a URI template; see [ParseTemplate] for its syntax.
	Template string
	// Metadata is published beside Genkit's own.
	Metadata map[string]json.RawMessage
	// Dynamic marks a resource that is made for one call.
	Dynamic bool
}

// Input is the input of a resource.
type Input struct {
	URI string `json:"uri"`
	// Variables are the values that the template found in the URI, decoded.
	Variables map[string]string `json:"variables,omitempty"`
}

// Output is the output of a resource.
type Output struct {
	Content []content.Part `json:"content"`
}

// Func fetches a resource.
type Func func(ctx context.Context, in Input) ([]content.Part, error)

var (
	inputSchema  = json.RawMessage(`{"type":"object","properties":{"uri":{"type":"string"}},"required":["uri"],"additionalProperties":true}`)
	outputSchema = json.RawMessage(`{"type":"object","properties":{"content":{"type":"array","items":{"type":"object"}}},"required":["content"],"additionalProperties":true}`)
)

// address is the metadata under "resource": how a URI is matched.
type address struct {
	URI      string `json:"uri,omitempty"`
	Template string `json:"template,omitempty"`
}

// New makes a resource of fn; its name is the URI or the template when name is empty. It
// fails with INVALID_ARGUMENT when neither a URI nor a template is given, or the template
// is not understood. Run with a URI that it does not match, the action fails with
// INVALID_ARGUMENT.
func New(name string, c Config, fn Func) (Resource, error) {
	name = cmp.Or(name, c.URI, c.Template)
	m, err := newMatcher(address{URI: c.URI, Template: c.Template})
	if err != nil {
		return nil, err
	}
	desc, err := describe(name, c)
	if err != nil {
		return nil, err
	}
	a, err := action.New(desc, func(ctx context.Context, raw json.RawMessage, _ action.Emit) (json.RawMessage, error) {
		var in Input
		if err := json.Unmarshal(raw, &in); err != nil {
			return nil, action.InvalidInput(desc, err)
		}
		variables, ok := m.match(in.URI)
		if !ok {
			return nil, status.Publicf(status.InvalidArgument, "input %q does not match the template of resource %q", in.URI, name)
		}
		parts, err := fn(ctx, Input{URI: in.URI, Variables: variables})
		if err != nil {
			return nil, err
		}
		out := Output{Content: make([]content.Part, len(parts))}
		for i, p := range parts {
			out.Content[i] = noted(p, in.URI, c)
		}
		return rawjson.Encode(out)
	})
	if err != nil {
		return nil, err
	}
	return erased{a}, nil
}

func describe(name string, c Config) (action.Desc, error) {
	metadata := map[string]json.RawMessage{}
	own, err := rawjson.Encode(address{URI: c.URI, Template: c.Template})
	if err != nil {
		return action.Desc{}, status.Errorf(status.Internal, "metadata of resource %q: %w", name, err)
	}
	metadata["resource"] = own
	maps.Copy(metadata, c.Metadata)
	metadata["type"] = json.RawMessage(`"resource"`)
	metadata["dynamic"] = json.RawMessage("false")
	if c.Dynamic {
		metadata["dynamic"] = content.True()
	}
	return action.Desc{
		Kind: action.Resource, Name: name, Description: c.Description,
		InputSchema: inputSchema, OutputSchema: outputSchema, Metadata: metadata,
	}, nil
}

// noted says on a part where it came from. A part that says it already, since
// another resource made it, gets this one as its parent.
func noted(p content.Part, uri string, c Config) content.Part {
	origin := map[string]any{"uri": uri}
	if c.Template != "" {
		origin["template"] = c.Template
	}
	var note any = origin
	if p.Metadata.Truthy("resource") {
		inner := map[string]json.RawMessage{}
		if json.Unmarshal(p.Metadata["resource"], &inner) == nil {
			raw, err := rawjson.Encode(origin)
			if err == nil {
				inner["parent"] = raw
			}
			note = inner
		}
	}
	if raw, err := rawjson.Encode(note); err == nil {
		p.Metadata = p.Metadata.With("resource", raw)
	}
	return p
}

// Matches reports whether the resource that d describes answers for uri, going by
// the metadata that is published.
func Matches(d action.Desc, uri string) bool {
	var a address
	if d.Kind != action.Resource || json.Unmarshal(d.Metadata["resource"], &a) != nil {
		return false
	}
	m, err := newMatcher(a)
	if err != nil {
		return false
	}
	_, ok := m.match(uri)
	return ok
}

// Find returns the first descriptor of a resource that answers for uri, such as those of
// a registry's list; false when there is none.
func Find(descs []action.Desc, uri string) (action.Desc, bool) {
	i := slices.IndexFunc(descs, func(d action.Desc) bool { return Matches(d, uri) })
	if i < 0 {
		return action.Desc{}, false
	}
	return descs[i], true
}

// Read runs a resource.
func Read(ctx context.Context, a action.Action, uri string) ([]content.Part, error) {
	in, err := rawjson.Encode(Input{URI: uri})
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the input of a resource: %w", err)
	}
	raw, err := a.RunJSON(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	var out Output
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, status.Errorf(status.Internal, "output of resource %q: %w", a.Desc().Name, err)
	}
	return out.Content, nil
}

// matcher is an exact URI or a template.
type matcher struct {
	uri      string
	template *Template
}

func newMatcher(a address) (*matcher, error) {
	if a.URI != "" {
		return &matcher{uri: a.URI}, nil
	}
	if a.Template == "" {
		return nil, status.Publicf(status.InvalidArgument, "a resource needs a uri or a template")
	}
	t, err := ParseTemplate(a.Template)
	return &matcher{template: t}, err
}

func (m *matcher) match(uri string) (map[string]string, bool) {
	if m.template == nil {
		return nil, m.uri == uri
	}
	return m.template.Match(uri)
}
