//go:build peers

// Package talk holds scripted conversations and runs them through this engine and
// through Genkit, so that every difference is known by name.
//
// It owns the table of conversations ([Conversations]), the list of differences
// ([Differences]) and what is observed of a run. Use:
//
//	ours, theirs := talk.Ours(ctx, c), talk.GenkitGo(ctx, c)
//	for _, atom := range talk.Compare(ours, theirs) { … }
//
// Functions here are safe for concurrent use.
package talk

import (
	"encoding/json"
	"slices"
	"strings"
)

// Conversation is one generate call: what is asked, and what the model answers
// turn by turn. It is plain data, so that an engine in another language can run it.
type Conversation struct {
	// Name is a sentence.
	Name string `json:"name"`
	// Options are GenerateActionOptions without the model.
	Options json.RawMessage `json:"options"`
	// Script is the model's behaviour, call by call.
	Script []Turn `json:"script"`
	// Supports are the model's declared capabilities; nil declares all of them.
	Supports json.RawMessage `json:"supports,omitempty"`
	// Silent runs without a receiver of chunks.
	Silent bool `json:"silent,omitempty"`
	// Unordered says that a peer orders the tools' answers by chance; they are
	// compared by their refs.
	Unordered bool `json:"-"`
}

// Turn is one answer of the model: chunks, then a response or an error.
type Turn struct {
	Chunks   []json.RawMessage `json:"chunks,omitempty"`
	Response json.RawMessage   `json:"response,omitempty"`
	// Status and Error make the model fail.
	Status string `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
}

// ModelName is the name of the scripted model in every engine.
const ModelName = "test/scripted"

// allSupports declares every capability.
const allSupports = `{"multiturn":true,"media":true,"tools":true,"systemRole":true,"context":true,"constrained":"all","toolChoice":true}`

func (c *Conversation) supports() json.RawMessage {
	if c.Supports == nil {
		return json.RawMessage(allSupports)
	}
	return c.Supports
}

// Observation is the observed result of a run, as JSON values.
type Observation struct {
	// Requests are the requests that the model received, call by call.
	Requests []any `json:"requests"`
	// Runs are the tools' runs, "name input", sorted.
	Runs []string `json:"runs"`
	// Chunks are the chunks that the caller received.
	Chunks []any `json:"chunks"`
	// Response is the final response as it goes over the wire, nil after an error.
	Response any `json:"response"`
	// Output is the response's output in the asked format.
	Output any `json:"output"`
	// Unparsed says that the engine shows no Output at this door.
	Unparsed bool `json:"unparsed"`
	// Status is the code that the wire shows of the error, "OK" without one.
	Status string `json:"status"`
	// Message is the error's text; it is shown, not compared.
	Message string `json:"message"`
}

// normal returns o as plain JSON values in which what no two runs share is masked
// and what has no order is sorted.
func (o *Observation) normal(unordered bool) map[string]any {
	sorted := slices.Clone(o.Runs)
	slices.Sort(sorted)
	n := map[string]any{
		"requests": mask(list(o.Requests)), "runs": list(sorted), "chunks": mask(list(o.Chunks)),
		"response": mask(plain(o.Response)), "output": plain(o.Output), "status": o.Status,
	}
	if unordered {
		byRef(n)
	}
	return n
}

// list is a slice as a JSON array, also when it is nil.
func list[T any](s []T) any {
	if s == nil {
		return []any{}
	}
	return plain(s)
}

func plain(v any) any {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return decode(raw)
}

func decode(raw []byte) any {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return err.Error()
	}
	return v
}

func mask(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			switch {
			case key == "latencyMs":
				v[key] = "(latency)"
			case key == "tools":
				v[key] = byName(mask(inner))
			default:
				v[key] = mask(inner)
			}
		}
	case []any:
		for i := range v {
			v[i] = mask(v[i])
		}
	}
	return v
}

// byName sorts tool definitions; [TestTheOrderOfTools] looks at their order.
func byName(v any) any {
	defs, _ := v.([]any)
	slices.SortFunc(defs, func(a, b any) int { return strings.Compare(nameOf(a), nameOf(b)) })
	return v
}

// byRef sorts every list of tool answers.
func byRef(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			byRef(inner)
		}
	case []any:
		for _, inner := range v {
			byRef(inner)
		}
		slices.SortStableFunc(v, func(a, b any) int { return strings.Compare(refOf(a), refOf(b)) })
	}
}

func refOf(v any) string {
	part, _ := v.(map[string]any)
	answer, _ := part["toolResponse"].(map[string]any)
	ref, _ := answer["ref"].(string)
	return ref
}

func nameOf(v any) string {
	m, _ := v.(map[string]any)
	name, _ := m["name"].(string)
	return name[strings.LastIndexByte(name, '/')+1:]
}
