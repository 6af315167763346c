package openai

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Embeddings is a request for embeddings.
type Embeddings struct {
	Model   string
	Request *embed.Request
	base64  bool
}

// ReadEmbeddings reads a request; INVALID_ARGUMENT, which names the member, for one that is none.
func ReadEmbeddings(body json.RawMessage) (*Embeddings, error) {
	var r struct {
		Model      string          `json:"model"`
		Input      json.RawMessage `json:"input"`
		Format     *string         `json:"encoding_format"`
		Dimensions *int            `json:"dimensions"`
	}
	if err := read(body, &r, "body"); err != nil {
		return nil, err
	}
	switch {
	case r.Model == "":
		return nil, status.Publicf(status.InvalidArgument, "model: name an embedder of a module; GET …/openai/v1/models lists them")
	case r.Dimensions != nil:
		return nil, unsupported("dimensions")
	case r.Format != nil && *r.Format != "float" && *r.Format != "base64":
		return nil, status.Publicf(status.InvalidArgument, "encoding_format: want float or base64")
	}
	texts, err := textsOf(r.Input)
	if err != nil {
		return nil, err
	}
	e := &Embeddings{Model: r.Model, Request: &embed.Request{}, base64: r.Format != nil && *r.Format == "base64"}
	for _, text := range texts {
		e.Request.Input = append(e.Request.Input, content.DocumentFromText(text, nil))
	}
	return e, nil
}

func textsOf(raw json.RawMessage) (texts []string, err error) {
	switch {
	case given(raw) && raw[0] == '"':
		texts = []string{""}
		err = json.Unmarshal(raw, &texts[0])
	case given(raw) && raw[0] == '[':
		err = json.Unmarshal(raw, &texts)
	}
	if err != nil || len(texts) == 0 || len(texts) > MaxInputs {
		return nil, status.Publicf(status.InvalidArgument, "input: want a text, or 1 to %d texts", MaxInputs)
	}
	return texts, nil
}

// EmbeddingList is the answer: OpenAI's list of embeddings. Genkit's embedders tell no tokens.
type EmbeddingList struct {
	Object string      `json:"object"`
	Data   []embedding `json:"data"`
	Model  string      `json:"model"`
	Usage  embedUsage  `json:"usage"`
}

type embedUsage struct {
	Prompt int `json:"prompt_tokens"`
	Total  int `json:"total_tokens"`
}

type embedding struct {
	Object    string `json:"object"`
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"` // numbers, or the base64 of 32-bit floats, the lowest byte first
}

// Answer writes a response; INTERNAL when the embedder has not answered each input with one vector.
func (e *Embeddings) Answer(resp *embed.Response) (*EmbeddingList, error) {
	if len(resp.Embeddings) != len(e.Request.Input) {
		return nil, status.Publicf(status.Internal, "the embedder gave %d vectors for %d texts", len(resp.Embeddings), len(e.Request.Input))
	}
	list := &EmbeddingList{Object: "list", Data: make([]embedding, 0, len(resp.Embeddings)), Model: e.Model}
	for i, v := range resp.Embeddings {
		item := embedding{Object: "embedding", Index: i, Embedding: v.Vector}
		if e.base64 {
			raw := make([]byte, 0, 4*len(v.Vector))
			for _, f := range v.Vector {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(f)))
			}
			item.Embedding = base64.StdEncoding.EncodeToString(raw)
		}
		list.Data = append(list.Data, item)
	}
	return list, nil
}

// Model is an entry of the list of models.
type Model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// ModelOf returns the entry of a model or an embedder by its name, whose first part is its provider or its module.
func ModelOf(name, provider string) Model { return Model{ID: name, Object: "model", OwnedBy: provider} }
