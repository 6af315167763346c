package wire

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Or returns v, or otherwise where v is the zero value.
func Or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// IsNull reports whether a field is absent or null.
func IsNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// IsObject reports whether valid JSON is an object.
func IsObject(raw json.RawMessage) bool {
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == '{'
}

// String returns the text of a JSON string, "" of anything else.
func String(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

// Number returns a JSON number with its digits.
func Number(raw json.RawMessage) (json.Number, bool) {
	if len(raw) == 0 || (raw[0] != '-' && (raw[0] < '0' || raw[0] > '9')) {
		return "", false
	}
	return json.Number(raw), true
}

// TextOf returns the text of a JSON string, and any other value as JSON without
// white space, which would cost tokens.
func TextOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil && !IsNull(raw) {
		return s
	}
	var buf bytes.Buffer
	if json.Compact(&buf, raw) != nil {
		return string(raw)
	}
	return buf.String()
}

// OneLine makes a text fit for one line of a log: no control characters, valid UTF-8.
func OneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	return strings.TrimSpace(text)
}

// Clip is [OneLine] cut to a number of bytes, at a rune.
func Clip(text string, limit int) string {
	text = OneLine(text)
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// Decode reads a config that holds no API key and obeys its schema; null and nothing are
// the zero value.
func Decode[T any](raw json.RawMessage, what string) (*T, error) {
	v := new(T)
	if IsNull(raw) {
		return v, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "%s: %w", what, err)
	}
	return v, nil
}

// WithExtra adds the fields of extra, which replace those of their names, to the body of a
// request. Those in managed are refused: they come from the rest of the request.
func WithExtra(body []byte, extra json.RawMessage, managed ...string) ([]byte, error) {
	if IsNull(extra) {
		return body, nil
	}
	more, err := ParseObject(extra)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, `model config key "extra": %w`, err)
	}
	o, err := ParseObject(body)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the request: %w", err)
	}
	for _, f := range more {
		if slices.Contains(managed, f.Name) {
			return nil, status.Publicf(status.InvalidArgument, "model config key %q: the engine fills this field in from the request", f.Name)
		}
		o.Set(f.Name, f.Value)
	}
	if body, err = rawjson.Encode(o); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "encode the request: %w", err)
	}
	return body, nil
}
