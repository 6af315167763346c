package wasmhost

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// wasmFormat runs one exported function as an output format.
type wasmFormat struct {
	guest *guest
	about abi.Format
}

var _ format.Format = (*wasmFormat)(nil)

func newFormat(g *guest, about abi.Format) format.Format { return &wasmFormat{guest: g, about: about} }

// Name is "<module>/<name>".
func (f *wasmFormat) Name() string { return f.guest.name }

// formatInput is the input of a format's function.
type formatInput struct {
	Op      string           `json:"op"`
	Schema  json.RawMessage  `json:"schema"`
	Message *content.Message `json:"message,omitempty"`
	Text    *string          `json:"text,omitempty"`
	Delta   *string          `json:"delta,omitempty"`
}

// The operations of a format.
const (
	opInstructions = "instructions" // → a string or null
	opParse        = "parse"        // of a whole message → a value, null for none
	opParseChunk   = "parseChunk"   // of the text so far → a value, null for nothing new
)

// New asks the guest for its instructions, under the limits of a call.
func (f *wasmFormat) New(ctx context.Context, schema json.RawMessage) (format.Handler, error) {
	if len(schema) == 0 {
		schema = json.RawMessage("null")
	}
	h := &wasmHandler{wasmFormat: f, schema: schema}
	out, err := h.call(ctx, formatInput{Op: opInstructions})
	if err != nil {
		return nil, err
	}
	if out == nil {
		out = json.RawMessage(`""`)
	}
	if err := json.Unmarshal(out, &h.instructions); err != nil {
		return nil, status.Publicf(status.Internal, "the instructions of format %q are no text", f.Name())
	}
	h.instructions = abi.Clean(h.instructions, maxInstructionBytes)
	if f.about.Chunks {
		return &wasmChunkHandler{h}, nil
	}
	return h, nil
}

// maxInstructionBytes bounds a format's instructions to a model, in bytes.
const maxInstructionBytes = 64 << 10

type wasmHandler struct {
	*wasmFormat
	schema       json.RawMessage
	instructions string
}

var (
	_ format.Handler   = (*wasmHandler)(nil)
	_ format.Untrusted = (*wasmHandler)(nil)
)

// Config returns the descriptor's settings.
func (h *wasmHandler) Config() format.Config {
	return format.Config{
		Format: h.Name(), ContentType: h.about.ContentType, Constrained: h.about.Constrained,
		NoDefaultInstructions: h.about.DefaultInstructions != nil && !*h.about.DefaultInstructions,
	}
}

// Instructions returns the guest's text.
func (h *wasmHandler) Instructions() string { return h.instructions }

// Untrusted keeps the instructions out of system messages.
func (h *wasmHandler) Untrusted() {}

// Parse has the guest read a whole message.
func (h *wasmHandler) Parse(ctx context.Context, m *content.Message) (json.RawMessage, error) {
	return h.call(ctx, formatInput{Op: opParse, Message: m})
}

// call gives the guest's output, nil for null.
func (h *wasmHandler) call(ctx context.Context, in formatInput) (json.RawMessage, error) {
	in.Schema = h.schema
	raw, err := marshal(in)
	if err != nil {
		return nil, err
	}
	res, err := h.guest.call(ctx, sandbox.Call{Input: raw})
	if err != nil {
		return nil, err
	}
	if res.Interrupted {
		return nil, status.Publicf(status.Internal, "format %q interrupted; only a tool can be interrupted", h.Name())
	}
	out := bytes.TrimSpace(res.Output)
	if len(out) == 0 || string(out) == "null" {
		return nil, nil
	}
	var value json.RawMessage
	if err := parse(out, &value); err != nil {
		return nil, status.Publicf(status.Internal, "the output of format %q is no JSON: %s", h.Name(), status.Convert(err).Message)
	}
	return value, nil
}

// wasmChunkHandler is for a format that reads output while it streams.
type wasmChunkHandler struct{ *wasmHandler }

var _ format.ChunkParser = (*wasmChunkHandler)(nil)

// ParseChunk has the guest parse the text streamed so far.
func (h *wasmChunkHandler) ParseChunk(ctx context.Context, text, delta string) (json.RawMessage, error) {
	return h.call(ctx, formatInput{Op: opParseChunk, Text: &text, Delta: &delta})
}
