// Package tool is the noun "tool": how one is made, how a model sees it, and how
// it stops to ask.
//
// It owns the definition that is sent to models, the interrupt and the two ways of
// answering one. A tool is an action of kind tool, or of kind tool.v2 when it
// returns content parts beside its output. Use:
//
//	add, err := tool.New("math/add", "Adds two numbers.", func(ctx context.Context, in Pair) (Sum, error) { … })
//	shot, err := tool.NewMultipart("web/shot", "Takes a picture of a page.", func(ctx context.Context, in Page) (*tool.Result, error) { … })
//	confirm, err := tool.NewInterrupt[Question, bool]("confirm", "Asks the user.", nil)
//
// Tools are safe for concurrent use when their function is.
package tool

import (
	"context"
	"encoding/json"
	"reflect"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Option is a choice that is made when a tool is made.
type Option func(*action.Desc)

// WithStored is [action.Desc].Stored.
func WithStored() Option { return func(d *action.Desc) { d.Stored = true } }

// WithInputSchema takes the place of the schema that follows from the input's type.
func WithInputSchema(raw json.RawMessage) Option { return func(d *action.Desc) { d.InputSchema = raw } }

// WithOutputSchema takes the place of the schema that follows from the output's type.
func WithOutputSchema(raw json.RawMessage) Option {
	return func(d *action.Desc) { d.OutputSchema = raw }
}

// WithStrictSchema says whether providers are asked to hold the model to the input
// schema: metadata.tool.strict, which becomes the definition's metadata.strict.
func WithStrictSchema(strict bool) Option {
	return func(d *action.Desc) { setFlag(d, "strict", json.RawMessage(strconv.FormatBool(strict))) }
}

// WithMetadata adds members to the action's metadata that it does not have already.
func WithMetadata(more map[string]json.RawMessage) Option {
	return func(d *action.Desc) {
		for key, value := range more {
			if _, said := d.Metadata[key]; !said && key != "tool" {
				d.Metadata[key] = value
			}
		}
	}
}

// setFlag sets a key of metadata.tool and keeps the others.
func setFlag(d *action.Desc, key string, value json.RawMessage) {
	flags := content.Metadata{}
	_ = json.Unmarshal(d.Metadata["tool"], &flags) // a value that is no object is replaced
	if raw, err := rawjson.Encode(flags.With(key, value)); err == nil {
		d.Metadata["tool"] = raw
	}
}

func describe(kind action.Kind, name, description string, options []Option) action.Desc {
	d := action.Desc{Kind: kind, Name: name, Description: description, Metadata: Metadata()}
	for _, o := range options {
		o(&d)
	}
	return d
}

// noParameters is the input schema of a tool whose input is a struct without fields:
// providers want an object, and what would be ignored is refused.
var noParameters = json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`)

// forInput sets the input schema of a tool without parameters unless it has one.
func forInput[In any](d action.Desc) action.Desc {
	if t := reflect.TypeFor[In](); d.InputSchema == nil && t.Kind() == reflect.Struct && t.NumField() == 0 {
		d.InputSchema = noParameters
	}
	return d
}

// New makes a tool of fn; the schemas follow from the types. struct{} as In makes a
// tool without parameters. It fails with INVALID_ARGUMENT when the name or a type is
// not usable.
func New[In, Out any](name, description string, fn func(ctx context.Context, in In) (Out, error), options ...Option) (*Def[In, Out], error) {
	desc := describe(action.Tool, name, description, options)
	d, err := action.Define(forInput[In](desc), func(ctx context.Context, in In, send func(json.RawMessage) error) (Out, error) {
		return fn(begin(ctx, send), in)
	})
	if err != nil {
		return nil, err
	}
	return &Def[In, Out]{d}, nil
}

// NewRaw makes a tool that works on raw JSON and may stream chunks. Schemas may
// be nil.
func NewRaw(name, description string, inputSchema, outputSchema json.RawMessage, fn action.Func, options ...Option) (Tool, error) {
	desc := describe(action.Tool, name, description, append([]Option{WithInputSchema(inputSchema), WithOutputSchema(outputSchema)}, options...))
	return newErased(desc, func(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
		return fn(begin(ctx, emit), in, emit)
	})
}

func newErased(desc action.Desc, fn action.Func) (Tool, error) {
	a, err := action.New(desc, fn)
	if err != nil {
		return nil, err
	}
	return erased{a}, nil
}

// Metadata returns the metadata of a plain tool's descriptor.
func Metadata() map[string]json.RawMessage {
	return map[string]json.RawMessage{"type": json.RawMessage(`"tool"`)}
}

type sendKey struct{}

// begin starts each run of a tool: the span records what the caller
// answered to an earlier interrupt, and ctx lets the function stream.
func begin(ctx context.Context, send func(json.RawMessage) error) context.Context {
	if raw, again := Resumed(ctx); again {
		telemetry.AnnotateString(ctx, "genkit:metadata:resumed", string(raw))
	}
	if ctx.Value(attachKey{}) != nil { // those of a tool around this one
		ctx = context.WithValue(ctx, attachKey{}, (*attachments)(nil))
	}
	return context.WithValue(ctx, sendKey{}, send)
}

// SendPartial streams an output that is not final yet: the reader gets a chunk of
// role tool with metadata.partial. Where nobody streams it does nothing. An error
// means that the reader is gone or that output can't be JSON.
func SendPartial(ctx context.Context, output any) error {
	send, _ := ctx.Value(sendKey{}).(func(json.RawMessage) error)
	if send == nil {
		return nil
	}
	raw, err := rawjson.Encode(output)
	if err != nil {
		return status.Errorf(status.InvalidArgument, "encode a partial output: %w", err)
	}
	return send(raw)
}

// anySchema is used where no schema is given (Genkit's tests/specs/generate.yaml).
var anySchema = json.RawMessage(`{"$schema":"http://json-schema.org/draft-07/schema#"}`)

// Definition returns a as a model sees it: under its short name, with the full
// name in metadata.originalName when that differs. The key is set where the name
// does not tell it: for tools whose name is shortened and for multipart tools.
func Definition(a action.Action) model.ToolDefinition {
	d := a.Desc()
	def := model.ToolDefinition{
		Name: action.ShortName(d.Name), Description: d.Description,
		InputSchema: orAny(d.InputSchema), OutputSchema: orAny(d.OutputSchema),
	}
	if original := d.Metadata[originalOutputSchema]; len(original) > 0 {
		def.OutputSchema = original
	}
	if key := d.Key().String(); key != "/tool/"+def.Name {
		def.Key = key
	}
	if def.Name != d.Name {
		original, err := rawjson.Encode(d.Name)
		if err == nil {
			def.Metadata = content.Metadata{"originalName": original}
		}
	}
	if flag(d, "strict") {
		def.Metadata = def.Metadata.With("strict", content.True())
	}
	return def
}

// flag reports whether metadata.tool has key set to true.
func flag(d action.Desc, key string) bool {
	var flags content.Metadata
	return json.Unmarshal(d.Metadata["tool"], &flags) == nil && string(flags[key]) == "true"
}

// Restartable reports whether the tool that d describes can be run again after an
// interrupt; one made with [NewInterrupt] can only be answered.
func Restartable(d action.Desc) bool {
	var flags content.Metadata
	return json.Unmarshal(d.Metadata["tool"], &flags) != nil || string(flags["restartable"]) != "false"
}

func orAny(s json.RawMessage) json.RawMessage {
	if s == nil {
		return anySchema
	}
	return s
}
