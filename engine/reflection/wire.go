package reflection

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// failure is Genkit's Status: an error as the tools show it, in full.
type failure struct {
	Code    int            `json:"code"`
	Message string         `json:"message"`
	Details failureDetails `json:"details"`
}

type failureDetails struct {
	Stack   string          `json:"stack"`
	TraceID string          `json:"traceId,omitempty"`
	Data    json.RawMessage `json:"genkitErrorDetails,omitempty"`
}

func failureOf(err error, traceID string) failure {
	e := status.Convert(err)
	text := e.Error()
	if e.Code == status.Cancelled {
		text = cancelledText
	}
	return failure{Code: int(e.Code), Message: text, Details: failureDetails{Stack: err.Error(), TraceID: traceID, Data: e.Details}}
}

type telemetryIDs struct {
	TraceID string `json:"traceId,omitempty"`
}

// answer is the outcome of a run: {result, telemetry} or {error}.
type answer struct {
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *failure        `json:"error,omitempty"`
	Telemetry *telemetryIDs   `json:"telemetry,omitempty"`
}

func answerOf(o outcome) answer {
	if o.err != nil {
		f := failureOf(o.err, o.traceID)
		return answer{Error: &f}
	}
	return answer{Result: o.result, Telemetry: &telemetryIDs{o.traceID}}
}

// described is an action as the tools list it.
type described struct {
	Key          string                     `json:"key"`
	Type         action.Kind                `json:"type"`
	Name         string                     `json:"name"`
	Description  string                     `json:"description,omitempty"`
	InputSchema  json.RawMessage            `json:"inputSchema,omitempty"`
	OutputSchema json.RawMessage            `json:"outputSchema,omitempty"`
	StreamSchema json.RawMessage            `json:"streamSchema,omitempty"`
	InitSchema   json.RawMessage            `json:"initSchema,omitempty"`
	Metadata     map[string]json.RawMessage `json:"metadata,omitempty"`
}

// describe lists every action that can be run, those of providers too, by key. A schema
// that only names another is replaced by it. Actions that can't be listed, because a
// plugin can't start or a provider can't be reached, are missing, and the reason is
// logged once, for as long as it stays the same: the Dev UI lists again and again.
func (s *Server) describe(ctx context.Context) (_ map[string]described, err error) {
	defer recovered(&err) // providers are not ours
	reg, log := s.app.Registry(), s.log
	entries, err := reg.Catalog(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, status.Convert(ctx.Err())
	}
	if text := textOf(err); text != s.unlisted.Swap(text) && err != nil {
		log.WarnContext(ctx, "some actions can't be listed", slog.Any("error", err))
	}
	all := make(map[string]described, len(entries))
	for _, entry := range entries {
		key, d := entry.Key, entry.Desc
		all[key] = described{
			Key: key, Type: d.Kind, Name: d.Name, Description: d.Description, Metadata: d.Metadata,
			InputSchema:  resolved(ctx, reg, d.InputSchema, key, log),
			OutputSchema: resolved(ctx, reg, d.OutputSchema, key, log),
			StreamSchema: resolved(ctx, reg, d.StreamSchema, key, log),
			InitSchema:   resolved(ctx, reg, d.InitSchema, key, log),
		}
	}
	return all, nil
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func resolved(ctx context.Context, reg *registry.Registry, raw json.RawMessage, key string, log *slog.Logger) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	named, err := generate.ResolveSchema(reg, raw)
	if err != nil {
		log.WarnContext(ctx, "an action names a schema that does not exist", slog.String("action", key), slog.Any("error", err))
		return raw
	}
	return named
}

const (
	valuesMiddleware   = "middleware"
	valuesDefaultModel = "defaultModel"
)

// values returns the registry's values of a type, as the tools see them.
func values(reg *registry.Registry, kind string) (map[string]json.RawMessage, error) {
	switch kind {
	case valuesMiddleware:
		return middleware.Descriptors(reg)
	case valuesDefaultModel:
		all := map[string]json.RawMessage{}
		for name, v := range reg.Values(generate.DefaultModelKind) {
			if text, ok := v.(string); ok { // Genkit's value is a reference to a model
				v = map[string]string{"name": text}
			}
			raw, err := rawjson.Encode(v)
			if err != nil {
				return nil, status.Errorf(status.Internal, "encode value %q: %w", name, err)
			}
			all[name] = raw
		}
		return all, nil
	}
	return nil, invalid("'type' %s is not supported. Only 'defaultModel' and 'middleware' are supported", kind)
}

// encode writes v as JSON without a newline.
func encode(v any) []byte {
	raw, err := rawjson.Encode(v)
	if err != nil { // a result that is no JSON
		raw, _ = rawjson.Encode(answerOf(outcome{err: status.Errorf(status.Internal, "encode the answer: %w", err)})) // texts always encode
	}
	return raw
}

// compact puts a chunk on one line.
func compact(chunk json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, chunk) != nil {
		return []byte("null")
	}
	return b.Bytes()
}

// unreadable describes a fault in JSON, without the names of Go types.
func unreadable(err error) string {
	e, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case !ok:
		return err.Error()
	case e.Field == "":
		return "want an object, got " + e.Value
	}
	return "field " + e.Field + " can't be of type " + e.Value
}
