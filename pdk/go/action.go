package pdk

import "encoding/json"

// ActionInfo describes one action of a descriptor that is no tool: an embedder, an
// evaluator, a retriever, an indexer, a reranker, a model, a resource or a prompt. The
// list of [Module] that it stands in says which.
type ActionInfo struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Export      string `json:"export,omitempty"` // default: Name; none for a prompt
	// ConfigSchema is what the options of a request obey, or a model's config; see [Schema].
	ConfigSchema json.RawMessage `json:"configSchema,omitempty"`
	// Info is what Genkit's lists tell: {"label": …, "dimensions": …, "supports": …}.
	Info map[string]any `json:"info,omitempty"`
	// URI or Template is the address of a resource below wasm://<module>/: "notes/today", "notes/{id}".
	URI      string `json:"uri,omitempty"`
	Template string `json:"template,omitempty"`
	// Source is the text of a prompt file.
	Source string `json:"source,omitempty"`
}

// Document is what is embedded, found and ranked.
type Document struct {
	Content  []Part                     `json:"content"`
	Metadata map[string]json.RawMessage `json:"metadata,omitempty"`
}

// Text returns the text of the document.
func (d Document) Text() string { return Message{Content: d.Content}.Text() }

// TextPart returns a part of text.
func TextPart(text string) Part {
	raw, _ := encode(text) // a string always encodes
	return Part{"text": raw}
}

// TextDocument returns a document of one text.
func TextDocument(text string) Document { return Document{Content: []Part{TextPart(text)}} }

// Embedding is the vector of a document.
type Embedding struct {
	Embedding []float64                  `json:"embedding"`
	Metadata  map[string]json.RawMessage `json:"metadata,omitempty"`
}

// Embedder runs fn, which returns an embedding for each document in their order. It is the
// whole body of an exported function, as with [Tool]. Options are those of the request, the zero value
// where it has none; so it is with the functions below.
func Embedder[Options any](fn func(docs []Document, options Options) ([]Embedding, error)) int32 {
	return Tool(func(in struct {
		Input   []Document `json:"input"`
		Options Options    `json:"options"`
	},
	) (any, error) {
		all, err := fn(in.Input, in.Options)
		return map[string][]Embedding{"embeddings": append([]Embedding{}, all...)}, err
	})
}

// Case is a test case of an evaluator. Values that it does not have are nil.
type Case struct {
	ID        string            `json:"testCaseId"`
	Input     json.RawMessage   `json:"input"`
	Output    json.RawMessage   `json:"output"`
	Context   []json.RawMessage `json:"context"`
	Reference json.RawMessage   `json:"reference"`
}

// Score is a score of a case.
type Score struct {
	ID     string `json:"id,omitempty"`    // tells several scores of one case apart
	Score  any    `json:"score,omitempty"` // a number, a text or a boolean
	Status string `json:"status,omitempty"`
	Error  string `json:"error,omitempty"` // why there is no score
	// Details explain it.
	Details *ScoreDetails `json:"details,omitempty"`
}

// ScoreDetails explain a score.
type ScoreDetails struct {
	Reasoning string `json:"reasoning,omitempty"`
}

// The values of Score.Status.
const (
	StatusPass    = "PASS"
	StatusFail    = "FAIL"
	StatusUnknown = "UNKNOWN"
)

// Evaluator runs fn on each case. An error of fn fails the call; hosts give one case a
// call.
func Evaluator[Options any](fn func(c Case, options Options) ([]Score, error)) int32 {
	type result struct {
		ID         string  `json:"testCaseId"`
		Evaluation []Score `json:"evaluation"`
	}
	return Tool(func(in struct {
		Dataset []Case  `json:"dataset"`
		Options Options `json:"options"`
	},
	) ([]result, error) {
		results := make([]result, len(in.Dataset))
		for i, c := range in.Dataset {
			scores, err := fn(c, in.Options)
			if err != nil {
				return nil, err
			}
			results[i] = result{c.ID, append([]Score{}, scores...)}
		}
		return results, nil
	})
}

type documents struct {
	Documents []Document `json:"documents"`
}

// Retriever runs fn, which finds the documents for a query, the best first.
func Retriever[Options any](fn func(query Document, options Options) ([]Document, error)) int32 {
	return Tool(func(in struct {
		Query   Document `json:"query"`
		Options Options  `json:"options"`
	},
	) (documents, error) {
		found, err := fn(in.Query, in.Options)
		return documents{append([]Document{}, found...)}, err
	})
}

// Indexer runs fn, which stores documents.
func Indexer[Options any](fn func(docs []Document, options Options) error) int32 {
	return Tool(func(in struct {
		Documents []Document `json:"documents"`
		Options   Options    `json:"options"`
	},
	) (any, error) {
		return nil, fn(in.Documents, in.Options)
	})
}

// Ranked is a document with its score.
type Ranked struct {
	Document
	Score float64
}

// Reranker runs fn, which scores documents that it is given and returns the best first; it may
// leave some out.
func Reranker[Options any](fn func(query Document, docs []Document, options Options) ([]Ranked, error)) int32 {
	return Tool(func(in struct {
		Query     Document   `json:"query"`
		Documents []Document `json:"documents"`
		Options   Options    `json:"options"`
	},
	) (documents, error) {
		ranked, err := fn(in.Query, in.Documents, in.Options)
		if err != nil {
			return documents{}, err
		}
		all := make([]Document, len(ranked))
		for i, r := range ranked {
			score, err := encode(r.Score)
			if err != nil { // NaN or an infinity
				return documents{}, err
			}
			metadata := map[string]json.RawMessage{"score": score}
			for key, value := range r.Metadata {
				if key != "score" {
					metadata[key] = value
				}
			}
			all[i] = Document{Content: r.Content, Metadata: metadata}
		}
		return documents{all}, nil
	})
}

// Resource runs fn, which fetches what stands at an address. Variables are the values that
// the resource's template found in it.
func Resource(fn func(uri string, variables map[string]string) ([]Part, error)) int32 {
	return Tool(func(in struct {
		URI       string            `json:"uri"`
		Variables map[string]string `json:"variables"`
	},
	) (any, error) {
		parts, err := fn(in.URI, in.Variables)
		return map[string][]Part{"content": append([]Part{}, parts...)}, err
	})
}

// ModelChunk is a piece of a model's answer, for [Emit].
type ModelChunk struct {
	Content []Part `json:"content"`
}

// Model runs fn, which answers a request as a model does. It streams by [Emit] of a
// [ModelChunk]; what it returns is the whole answer nevertheless. Without a finish reason it is
// "stop".
func Model(fn func(request ModelRequest) (ModelResponse, error)) int32 {
	return Tool(func(request ModelRequest) (ModelResponse, error) {
		answer, err := fn(request)
		if err == nil && answer.FinishReason == "" {
			answer.FinishReason = "stop"
		}
		return answer, err
	})
}
