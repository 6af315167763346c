// Package format says what a model's text should be and reads it: as text, as
// JSON, or as a format that somebody registered.
//
// It owns the built-in formats, the instructions that tell a model about them,
// where those are placed, and the reading of JSON from loose text. Formats are
// registry values of kind [Kind]. Use:
//
//	h, err := format.JSON().New(ctx, schema)
//	messages = format.Inject(messages, h.Instructions())
//	output, err := h.Parse(ctx, reply)
//
// Handlers made for one generate call are used by that call only.
package format

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Kind is the kind of registry value that a [Format] is.
const Kind = "format"

// Format makes handlers. It is called concurrently.
type Format interface {
	Name() string
	// New makes a handler for a generate call. ctx is the call's: a format that
	// does work here, such as one that runs in a guest, ends with it. schema is
	// what the caller asks of the output, or nil; INVALID_ARGUMENT when the format
	// can't serve it.
	New(ctx context.Context, schema json.RawMessage) (Handler, error)
}

// Handler serves one generate call.
type Handler interface {
	// Config gives the defaults of the request's output.
	Config() Config
	// Instructions returns the text that tells a model what is wanted, "" for
	// none.
	Instructions() string
	// Parse reads the output from a message. nil without an error means that
	// there is none.
	Parse(ctx context.Context, m *content.Message) (json.RawMessage, error)
}

// ChunkParser is implemented by a [Handler] that reads output while it streams.
type ChunkParser interface {
	// ParseChunk parses the text streamed so far: text is all of the message so
	// far, and delta, its end, what the chunk added. It is called for each chunk
	// in turn, so a handler may keep where it is; a text that does not continue
	// the last one is that of another message. nil without an error means that
	// there is nothing new.
	ParseChunk(ctx context.Context, text, delta string) (json.RawMessage, error)
}

// Untrusted is implemented by a [Handler] whose instructions come from somebody who may
// not speak as the system: they are placed in the last user message.
type Untrusted interface{ Untrusted() }

// Config holds the settings that a format needs in the request.
type Config struct {
	Format      string
	ContentType string
	// Constrained asks the model to enforce the schema; where it can't, the
	// instructions stand in.
	Constrained bool
	// NoDefaultInstructions leaves the instructions out unless the caller asks
	// for them.
	NoDefaultInstructions bool
}

// Register adds a format to reg; ALREADY_EXISTS when the name is taken.
func Register(reg *registry.Registry, f Format) error {
	if f.Name() == "" {
		return status.Publicf(status.InvalidArgument, "a format needs a name")
	}
	return reg.RegisterValue(Kind, f.Name(), f)
}

// Builtins returns the formats that every engine has.
func Builtins() []Format { return []Format{Text(), JSON(), JSONL(), Array(), Enum()} }

// Lookup finds a format by name; INVALID_ARGUMENT when there is none. (Genkit JS
// ignores an unknown format in silence.)
func Lookup(reg *registry.Registry, name string) (Format, error) {
	value, err := reg.ResolveValue(Kind, name)
	if status.Of(err) == status.NotFound {
		return nil, status.Publicf(status.InvalidArgument, "output format %q is not registered", name)
	}
	if err != nil {
		return nil, err
	}
	f, ok := value.(Format)
	if !ok {
		return nil, status.Errorf(status.Internal, "value %q of kind %s is a %T, not a format", name, Kind, value)
	}
	return f, nil
}

// Apply completes what the caller asked of the output with the format's own
// config; what the caller set wins.
func (c Config) Apply(asked *model.OutputOptions) *model.Output {
	out := &model.Output{Format: c.Format, ContentType: c.ContentType}
	if c.Constrained {
		out.Constrained = new(true)
	}
	if asked == nil {
		return out
	}
	if asked.Format != "" {
		out.Format = asked.Format
	}
	if asked.ContentType != "" {
		out.ContentType = asked.ContentType
	}
	if asked.Constrained != nil {
		out.Constrained = asked.Constrained
	}
	out.Schema = asked.JSONSchema
	return out
}
