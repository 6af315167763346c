//go:build wasip1

// Command pluginguest is the conformance module plugin in Go: one part of each kind, which ../../../vectors/plugin talks to,
// written with the Go PDK's typed functions.
package main

import (
	"encoding/json"
	"slices"
	"strings"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
)

func main() {}

type object = map[string]any

type text struct {
	Text string `json:"text"`
}

type size struct {
	Size int `json:"size"`
}

func sizeOf(in text) (size, error) { return size{len(in.Text)}, nil }

//go:wasmexport size
func exportSize() int32 { return pdk.Tool(sizeOf) }

type scale struct {
	Scale *float64 `json:"scale,omitempty"`
}

//go:wasmexport measure
func exportMeasure() int32 {
	return pdk.Embedder(func(docs []pdk.Document, o scale) ([]pdk.Embedding, error) {
		factor := 1.0
		if o.Scale != nil {
			factor = *o.Scale
		}
		var all []pdk.Embedding
		for i, d := range docs {
			t := d.Text()
			if t == "" {
				return nil, pdk.Errorf(pdk.InvalidArgument, "document %d is empty", i)
			}
			n := float64(len(t))
			all = append(all, pdk.Embedding{Embedding: []float64{n * factor, float64(strings.Count(t, "a")) * factor, n / 3 * factor}})
		}
		return all, nil
	})
}

//go:wasmexport contains
func exportContains() int32 {
	return pdk.Evaluator(func(c pdk.Case, _ struct{}) ([]pdk.Score, error) {
		var output, reference string
		if json.Unmarshal(c.Reference, &reference) != nil {
			return nil, pdk.Errorf(pdk.InvalidArgument, "the case %q has no reference", c.ID)
		}
		if json.Unmarshal(c.Output, &output) != nil {
			return []pdk.Score{{ID: "contains", Status: pdk.StatusUnknown, Error: "there is no output"}}, nil
		}
		size := pdk.Score{ID: "size", Score: len(output)}
		if strings.Contains(output, reference) {
			return []pdk.Score{{ID: "contains", Score: true, Status: pdk.StatusPass}, size}, nil
		}
		return []pdk.Score{{
			ID: "contains", Score: false, Status: pdk.StatusFail, Details: &pdk.ScoreDetails{Reasoning: `no "` + reference + `" in it`},
		}, size}, nil
	})
}

type limit struct {
	K *int `json:"k,omitempty" minimum:"0"`
}

func (l limit) of(n int) int {
	if l.K == nil {
		return n
	}
	return min(*l.K, n)
}

var shelf = []string{"alpha", "beta", "grün \"✓\""}

//go:wasmexport find
func exportFind() int32 {
	return pdk.Retriever(func(query pdk.Document, o limit) ([]pdk.Document, error) {
		var found []pdk.Document
		for i, t := range shelf {
			if strings.Contains(t, query.Text()) {
				d := pdk.TextDocument(t)
				d.Metadata = map[string]json.RawMessage{"n": json.RawMessage{'0' + byte(i)}}
				found = append(found, d)
			}
		}
		return found[:o.of(len(found))], nil
	})
}

//go:wasmexport keep
func exportKeep() int32 {
	return pdk.Indexer(func(docs []pdk.Document, o struct {
		Under string `json:"under"`
	},
	) error {
		if o.Under == "" {
			return pdk.Errorf(pdk.FailedPrecondition, "say under which name")
		}
		var all []string
		for _, d := range docs {
			all = append(all, d.Text())
		}
		return pdk.KVSet(o.Under, strings.Join(all, "\n"), pdk.KVOptions{})
	})
}

//go:wasmexport longest
func exportLongest() int32 {
	return pdk.Reranker(func(query pdk.Document, docs []pdk.Document, o limit) ([]pdk.Ranked, error) {
		var all []pdk.Ranked
		for _, d := range docs {
			all = append(all, pdk.Ranked{Document: d, Score: float64(len(d.Text())) / float64(len(query.Text()))})
		}
		slices.SortStableFunc(all, func(a, b pdk.Ranked) int {
			switch {
			case a.Score > b.Score:
				return -1
			case a.Score < b.Score:
				return 1
			}
			return 0
		})
		return all[:o.of(len(all))], nil
	})
}

//go:wasmexport parrot
func exportParrot() int32 {
	return pdk.Model(func(r pdk.ModelRequest) (pdk.ModelResponse, error) {
		last := r.Messages[len(r.Messages)-1]
		usage, _ := json.Marshal(object{"inputTokens": len(r.Messages)})
		answer := pdk.ModelResponse{Message: &pdk.Message{Role: "model"}, Usage: usage}
		if last.Role == "tool" {
			var response struct {
				Output json.RawMessage `json:"output"`
			}
			if err := json.Unmarshal(last.Content[0]["toolResponse"], &response); err != nil {
				return answer, err
			}
			answer.Message.Content = []pdk.Part{pdk.TextPart("the tool said " + string(response.Output))}
			return answer, nil
		}
		told := last.Text()
		if told == "fail" {
			return answer, pdk.Errorf(pdk.Unavailable, "the parrot sleeps")
		}
		if rest, ok := strings.CutPrefix(told, "call "); ok {
			var tools []struct {
				Name string `json:"name"`
			}
			if err := json.Unmarshal(r.Tools, &tools); err != nil {
				return answer, err
			}
			request, err := json.Marshal(object{"name": tools[0].Name, "input": object{"text": rest}})
			answer.Message.Content = []pdk.Part{{"toolRequest": request}}
			return answer, err
		}
		for _, t := range []string{"you said: ", told} {
			part := pdk.TextPart(t)
			if err := pdk.Emit(pdk.ModelChunk{Content: []pdk.Part{part}}); err != nil {
				return answer, err
			}
			answer.Message.Content = append(answer.Message.Content, part)
		}
		return answer, nil
	})
}

//go:wasmexport note
func exportNote() int32 {
	return pdk.Resource(func(uri string, variables map[string]string) ([]pdk.Part, error) {
		var kept string
		found, err := pdk.KVGet(variables["id"], &kept)
		if err == nil && !found {
			err = pdk.Errorf(pdk.NotFound, "nothing is kept at %s", uri)
		}
		return []pdk.Part{pdk.TextPart(kept), pdk.TextPart(uri)}, err
	})
}

type mark struct {
	Mark string `json:"mark"`
}

//go:wasmexport frame
func exportFrame() int32 {
	return pdk.Middleware(func(h *pdk.Hook[mark]) (any, error) {
		switch h.Kind {
		case pdk.HookGenerate:
			return frameTurn(h)
		case pdk.HookModel:
			return frameModel(h)
		}
		return frameTool(h)
	})
}

func frameTurn(h *pdk.Hook[mark]) (any, error) {
	if h.Config.Mark == "refuse" {
		return nil, pdk.Errorf(pdk.PermissionDenied, "%s may not be asked", h.Model)
	}
	var turn pdk.Turn
	if err := json.Unmarshal(h.Request, &turn); err != nil {
		return nil, err
	}
	var answer pdk.ModelResponse
	err := h.Next(turn, &answer)
	if turn.CurrentTurn == 0 {
		answer.FinishMessage = "by " + h.Config.Mark
	}
	return answer, err
}

func frameModel(h *pdk.Hook[mark]) (any, error) {
	var request pdk.ModelRequest
	if err := json.Unmarshal(h.Request, &request); err != nil {
		return nil, err
	}
	if request.Messages[len(request.Messages)-1].Role == "user" && h.Config.Mark == "add" {
		request.Messages = append(request.Messages, pdk.Message{Role: "user", Content: []pdk.Part{pdk.TextPart("added")}})
	}
	var answer pdk.ModelResponse
	if err := h.Next(request, &answer); err != nil {
		return nil, err
	}
	for i, part := range answer.Message.Content {
		if t, ok := part.Text(); ok {
			changed, err := part.WithText("[" + t + "]")
			if err != nil {
				return nil, err
			}
			answer.Message.Content[i] = changed
		}
	}
	return answer, nil
}

func frameTool(h *pdk.Hook[mark]) (any, error) {
	var part pdk.Part
	if err := h.Next(h.Request, &part); err != nil {
		return nil, err
	}
	var response object
	if err := json.Unmarshal(part["toolResponse"], &response); err != nil {
		return nil, err
	}
	response["output"] = object{"framed": response["output"]}
	raw, err := json.Marshal(response)
	part["toolResponse"] = raw
	return part, err
}

func lines(text string) any {
	all := []string{}
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" {
			all = append(all, line)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

//go:wasmexport lines
func exportLines() int32 {
	return pdk.ServeFormat(pdk.Format{
		Instructions: func(schema json.RawMessage) (string, error) {
			if string(schema) == "null" {
				return "Write one item on each line.", nil
			}
			return "Write one item on each line, by " + string(schema), nil
		},
		Parse: func(_ json.RawMessage, m pdk.Message) (any, error) { return lines(m.Text()), nil },
		ParseChunk: func(_ json.RawMessage, text, delta string) (any, error) {
			if !strings.Contains(delta, "\n") {
				return nil, nil //nolint:nilnil // there is nothing new
			}
			return lines(text[:strings.LastIndexByte(text, '\n')]), nil
		},
	})
}

//go:wasmexport genkit_describe
func describe() int32 {
	return pdk.Describe(pdk.Module{
		Name: "plugin", Version: "1.0.0", Description: "One part of each kind that a module may offer.",
		Tools:      []pdk.ToolInfo{pdk.Info("size", "Counts the bytes of a text in UTF-8.", sizeOf)},
		Middleware: []pdk.MiddlewareInfo{{Name: "frame", Hooks: []string{pdk.HookGenerate, pdk.HookModel, pdk.HookTool}}},
		Formats:    []pdk.FormatInfo{{Name: "lines", ContentType: "text/plain", Chunks: true}},
		Embedders:  []pdk.ActionInfo{{Name: "measure", Info: object{"dimensions": 3}, ConfigSchema: pdk.Schema[scale]()}},
		Evaluators: []pdk.ActionInfo{{Name: "contains"}},
		Retrievers: []pdk.ActionInfo{{Name: "find", ConfigSchema: pdk.Schema[limit]()}},
		Indexers:   []pdk.ActionInfo{{Name: "keep"}},
		Rerankers:  []pdk.ActionInfo{{Name: "longest"}},
		Models:     []pdk.ActionInfo{{Name: "parrot", Info: object{"supports": object{"tools": true, "multiturn": true}}}},
		Resources:  []pdk.ActionInfo{{Name: "note", Template: "notes/{id}"}},
		Prompts: []pdk.ActionInfo{{
			Name: "greet", Source: "---\nmodel: parrot\ninput:\n  schema:\n    name: string\n---\nGreet {{name}}.\n",
		}},
		Requests: object{"kv": true},
	})
}
