package openai

import (
	"context"
	_ "embed" // for the schema
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

//go:embed embedding.schema.json
var embeddingSchema json.RawMessage

// maxEmbeddings is how many texts OpenAI takes in one request.
const maxEmbeddings = 2048

// embedders are those of OpenAI's catalogue, with the length of their vectors.
var embedders = []struct {
	id         string
	dimensions int
}{{"text-embedding-3-small", 1536}, {"text-embedding-3-large", 3072}, {"text-embedding-ada-002", 1536}}

func (p *Provider) newEmbedder(id string) (action.Action, error) {
	info := embed.Info{Supports: &embed.Supports{Input: []string{"text"}}, ConfigSchema: embeddingSchema, BatchSize: maxEmbeddings}
	for _, e := range embedders {
		if e.id == id {
			info.Dimensions = e.dimensions
		}
	}
	a, err := embed.New(p.cfg.Name+"/"+id, info, func(ctx context.Context, req *embed.Request) (*embed.Response, error) {
		return p.embed(ctx, id, req)
	})
	if err != nil {
		return nil, err
	}
	return wire.KeyedEmbedder(a), nil
}

// embed is one POST /embeddings. A document's text parts are joined; media is not
// supported.
func (p *Provider) embed(ctx context.Context, id string, req *embed.Request) (*embed.Response, error) {
	version, fields, err := plainConfig(req.Options, nil, []string{"model", "input"})
	if err != nil {
		return nil, err
	}
	if format, set := fields["encodingFormat"]; set {
		delete(fields, "encodingFormat")
		fields["encoding_format"] = format
	}
	texts := make([]string, len(req.Input))
	for i := range req.Input {
		for _, part := range req.Input[i].Content {
			if part.Media != nil {
				return nil, status.Publicf(status.InvalidArgument, "input[%d]: media can't be embedded, only text", i)
			}
		}
		texts[i] = content.TextOf(req.Input[i].Content)
	}
	if len(texts) == 0 {
		return &embed.Response{}, nil
	}
	body, err := bodyWith(fields, map[string]any{"model": wire.Or(version, id), "input": texts})
	if err != nil {
		return nil, err
	}
	key := p.peer.Key(ctx)
	raw, err := p.peer.Fetch(ctx, wire.Outgoing{Path: "/embeddings", Key: key, Accept: wire.JSON, Body: body})
	if err != nil {
		return nil, err
	}
	return p.vectors(raw, len(texts), key)
}

// vectors reads an answer that must hold one vector for each of n texts; their order is
// that of their indexes, where the server gives any.
func (p *Provider) vectors(raw json.RawMessage, n int, key string) (*embed.Response, error) {
	var answer struct {
		Data []struct {
			Index     *int            `json:"index"`
			Embedding json.RawMessage `json:"embedding"`
		} `json:"data"`
	}
	if err := p.peer.Read(raw, &answer, "embeddings", key); err != nil {
		return nil, err
	}
	if len(answer.Data) != n {
		return nil, status.Publicf(status.Internal, "the server gave %d embeddings for %d texts", len(answer.Data), n)
	}
	resp := &embed.Response{Embeddings: make([]embed.Embedding, n)}
	for i, d := range answer.Data {
		at := i
		if d.Index != nil {
			at = *d.Index
		}
		if at < 0 || at >= n || resp.Embeddings[at].Vector != nil {
			return nil, status.Publicf(status.Internal, "the indexes of the server's embeddings are not those of the texts")
		}
		vector, err := vectorOf(d.Embedding)
		if err != nil {
			return nil, err
		}
		resp.Embeddings[at].Vector = vector
	}
	return resp, nil
}

// vectorOf reads a list of numbers, or float32s in little-endian base64.
func vectorOf(raw json.RawMessage) ([]float64, error) {
	const size = 4
	var vector []float64
	if json.Unmarshal(raw, &vector) == nil && len(vector) > 0 {
		return vector, nil
	}
	data, err := base64.StdEncoding.DecodeString(wire.String(raw))
	if err != nil || len(data) == 0 || len(data)%size != 0 {
		return nil, status.Publicf(status.Internal, "an embedding of the server is neither a list of numbers nor base64")
	}
	vector = make([]float64, 0, len(data)/size)
	for ; len(data) > 0; data = data[size:] {
		f := float64(math.Float32frombits(binary.LittleEndian.Uint32(data)))
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, status.Publicf(status.Internal, "an embedding of the server holds what is not a number")
		}
		vector = append(vector, f)
	}
	return vector, nil
}
