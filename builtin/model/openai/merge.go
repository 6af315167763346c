package openai

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// The fields of the API's objects that are never a server's own.
var (
	messageFields  = []string{"role", "content", "tool_calls", "tool_call_id", "function_call", "name"}
	callFields     = []string{"index", "id", "type", "function"}
	functionFields = []string{"name", "arguments"}
)

// unknown decodes the object b into v and returns its fields that are not among
// known, nulls left out.
func unknown(b []byte, v any, known []string) (map[string]json.RawMessage, error) {
	if err := json.Unmarshal(b, v); err != nil {
		return nil, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	for _, name := range known {
		delete(all, name)
	}
	maps.DeleteFunc(all, func(_ string, value json.RawMessage) bool { return wire.IsNull(value) })
	return all, nil
}

// withFields encodes the struct v and adds fields in the order of their names, but
// those among known.
func withFields(v any, fields map[string]json.RawMessage, known []string) ([]byte, error) {
	out, err := rawjson.Encode(v)
	if err != nil || len(fields) == 0 {
		return out, err
	}
	out = out[:len(out)-1]
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if slices.Contains(known, name) {
			continue
		}
		if !json.Valid(fields[name]) {
			return nil, fmt.Errorf("field %q is not valid JSON", name)
		}
		key, err := rawjson.Encode(name)
		if err != nil {
			return nil, err
		}
		out = append(append(append(append(out, ','), key...), ':'), fields[name]...)
	}
	return append(out, '}'), nil
}

// maxOpaque bounds how many unknown fields are kept of one object.
const maxOpaque = 32

// maxMergeWork bounds how many bytes of one answer are read again in order to merge
// pieces of objects. Later pieces are left out then: a server that sends so many of
// them means no good.
const maxMergeWork = 8 << 20

// merger merges the unknown fields of pieces, within [maxMergeWork].
type merger struct{ work int }

// merge adds the fields of a later piece to those of the pieces before: objects are
// merged field by field, and of anything else the later value stays.
func (m *merger) merge(old, piece map[string]json.RawMessage) map[string]json.RawMessage {
	for name, value := range piece {
		if wire.IsNull(value) {
			continue
		}
		if old == nil {
			old = map[string]json.RawMessage{}
		}
		before, known := old[name]
		switch {
		case !known && len(old) < maxOpaque:
			old[name] = value
		case known:
			old[name] = m.value(before, value)
		}
	}
	return old
}

func (m *merger) value(old, value json.RawMessage) json.RawMessage {
	if !wire.IsObject(old) || !wire.IsObject(value) {
		return value
	}
	if m.work += len(old) + len(value); m.work > maxMergeWork {
		return old
	}
	var a, b map[string]json.RawMessage
	if json.Unmarshal(old, &a) != nil || json.Unmarshal(value, &b) != nil {
		return value
	}
	merged, err := rawjson.Encode(m.merge(a, b))
	if err != nil {
		return value
	}
	return merged
}

// detail is an object of a list that is streamed in pieces (reasoning_details). Its
// texts are joined, of its other fields the last value stays.
type detail struct {
	index, kind string
	fields      map[string]json.RawMessage
	texts       map[string]*strings.Builder
}

// addDetails takes in a piece of the list: an object of the index and type of the last
// one goes on with it.
func (a *answer) addDetails(raw json.RawMessage) {
	var pieces []map[string]json.RawMessage
	if json.Unmarshal(raw, &pieces) != nil {
		return
	}
	for _, piece := range pieces {
		index, kind := string(piece["index"]), string(piece["type"])
		n := len(a.details)
		if n == 0 || index == "" || a.details[n-1].index != index || a.details[n-1].kind != kind {
			a.details = append(a.details, &detail{index: index, kind: kind, fields: map[string]json.RawMessage{}, texts: map[string]*strings.Builder{}})
			n++
		}
		a.details[n-1].add(piece)
	}
}

func (d *detail) add(piece map[string]json.RawMessage) {
	for name, value := range piece {
		_, known := d.fields[name]
		switch {
		case wire.IsNull(value) && known, !known && len(d.fields) >= maxOpaque:
			continue
		case (name == "text" || name == "summary" || name == "data") && !wire.IsNull(value):
			if d.texts[name] == nil {
				d.texts[name] = &strings.Builder{}
			}
			d.texts[name].WriteString(wire.String(value))
		}
		d.fields[name] = value
	}
}

// MarshalJSON writes the object as it would have come in one piece.
func (d *detail) MarshalJSON() ([]byte, error) {
	fields := maps.Clone(d.fields)
	for name, text := range d.texts {
		raw, err := rawjson.Encode(text.String())
		if err != nil {
			return nil, err
		}
		fields[name] = raw
	}
	return rawjson.Encode(fields)
}

// opaqueFields are the fields of the message that go back as they came.
func (a *answer) opaqueFields() (map[string]json.RawMessage, error) {
	if len(a.details) == 0 {
		return a.opaque, nil
	}
	raw, err := rawjson.Encode(a.details)
	if err != nil {
		return nil, err
	}
	fields := maps.Clone(a.opaque)
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	fields["reasoning_details"] = raw
	return fields, nil
}
