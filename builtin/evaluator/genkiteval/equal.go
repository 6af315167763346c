package genkiteval

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// deepEqual compares as JSON: the order of keys does not count, 1 and 1.0 are equal, and
// so are numbers beyond a double only when all their digits are.
func deepEqual(_ context.Context, c *evaluate.Case) (evaluate.Score, error) {
	if err := needs(c, "output", "reference"); err != nil {
		return evaluate.Score{}, err
	}
	output, err := decode(c.Output)
	if err != nil {
		return evaluate.Score{}, status.Publicf(status.InvalidArgument, "output: %w", err)
	}
	reference, err := decode(c.Reference)
	if err != nil {
		return evaluate.Score{}, status.Publicf(status.InvalidArgument, "reference: %w", err)
	}
	if where := differ("", output, reference); where != "" {
		return evaluate.Verdict(false).Because(where), nil
	}
	return evaluate.Verdict(true), nil
}

func decode(raw json.RawMessage) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

// differ says where two values differ, "" when they don't.
func differ(path string, got, want any) string {
	switch want := want.(type) {
	case map[string]any:
		if got, ok := got.(map[string]any); ok {
			return differObject(path, got, want)
		}
	case []any:
		if got, ok := got.([]any); ok {
			return differArray(path, got, want)
		}
	case json.Number:
		if got, ok := got.(json.Number); ok && rawjson.EqualNumber(string(got), string(want)) {
			return ""
		}
	default:
		if got == want {
			return ""
		}
	}
	return fmt.Sprintf("%s: got %s, want %s", place(path), shown(got), shown(want))
}

func differObject(path string, got, want map[string]any) string {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		inner := path + "/" + key
		v, ok := got[key]
		if !ok {
			return place(inner) + ": is missing"
		}
		if where := differ(inner, v, want[key]); where != "" {
			return where
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			return place(path+"/"+key) + ": is not wanted"
		}
	}
	return ""
}

func differArray(path string, got, want []any) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%s: got %d elements, want %d", place(path), len(got), len(want))
	}
	for i := range want {
		if where := differ(path+"/"+strconv.Itoa(i), got[i], want[i]); where != "" {
			return where
		}
	}
	return ""
}

const maxShown = 200

func place(path string) string {
	if path == "" {
		return "(root)"
	}
	return cut(path)
}

func shown(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return cut(string(raw))
}

func cut(s string) string {
	if len(s) <= maxShown {
		return s
	}
	end := maxShown
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
