package googleai

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// maxEmbeddings is how many texts the API takes in one request.
const maxEmbeddings = 100

// embedders are those of the catalogue, with the length of their vectors.
var embedders = []struct {
	id         string
	dimensions int
}{{"gemini-embedding-001", 3072}, {"text-embedding-004", 768}}

// EmbedOptions are the options of an embed request.
type EmbedOptions struct {
	Version              string `json:"version,omitempty" jsonschema_description:"Model id to ask for instead of the one in the embedder's name."`
	APIKey               string `json:"apiKey,omitempty" jsonschema_description:"Key for this request instead of the provider's; it is not recorded."`
	TaskType             string `json:"taskType,omitempty" jsonschema_description:"What the vectors are for, such as RETRIEVAL_DOCUMENT."`
	Title                string `json:"title,omitempty" jsonschema_description:"The document's title, with RETRIEVAL_DOCUMENT."`
	OutputDimensionality int    `json:"outputDimensionality,omitempty" jsonschema:"minimum=1" jsonschema_description:"How long the vectors are."`
}

type wireEmbed struct {
	Model   string `json:"model"`
	Content struct {
		Parts []wireText `json:"parts"`
	} `json:"content"`
	TaskType             string `json:"taskType,omitempty"`
	Title                string `json:"title,omitempty"`
	OutputDimensionality int    `json:"outputDimensionality,omitempty"`
}

type wireText struct {
	Text string `json:"text"`
}

func (p *Provider) newEmbedder(id string) (action.Action, error) {
	if !idForm.MatchString(id) {
		return nil, status.Publicf(status.InvalidArgument, "%q is no id of an embedder of provider %q", wire.Clip(id, 64), p.cfg.Name)
	}
	config, err := schema.Infer[EmbedOptions]()
	if err != nil {
		return nil, err
	}
	info := embed.Info{Supports: &embed.Supports{Input: []string{"text"}}, ConfigSchema: config, BatchSize: maxEmbeddings}
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

// embed is one batchEmbedContents. A document's text parts are joined; media is not
// supported.
func (p *Provider) embed(ctx context.Context, id string, req *embed.Request) (*embed.Response, error) {
	conf, err := wire.Decode[EmbedOptions](req.Options, "embed options")
	if err != nil {
		return nil, err
	}
	id = wire.Or(conf.Version, id)
	var body struct {
		Requests []wireEmbed `json:"requests"`
	}
	for i := range req.Input {
		for _, part := range req.Input[i].Content {
			if part.Media != nil {
				return nil, status.Publicf(status.InvalidArgument, "input[%d]: media can't be embedded, only text", i)
			}
		}
		one := wireEmbed{Model: resource(id), TaskType: conf.TaskType, Title: conf.Title, OutputDimensionality: conf.OutputDimensionality}
		one.Content.Parts = []wireText{{content.TextOf(req.Input[i].Content)}}
		body.Requests = append(body.Requests, one)
	}
	if len(body.Requests) == 0 {
		return &embed.Response{}, nil
	}
	out := wire.Outgoing{Key: p.Peer.Key(ctx), Accept: wire.JSON}
	if out.Path, err = p.path(id, "batchEmbedContents"); err != nil {
		return nil, err
	}
	if out.Body, err = rawjson.Encode(body); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "encode the request: %w", err)
	}
	raw, err := p.Peer.Fetch(ctx, out)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Embeddings []struct {
			Values []float64 `json:"values"`
		} `json:"embeddings"`
	}
	if err := p.Peer.Read(raw, &answer, "batchEmbedContents", out.Key); err != nil {
		return nil, err
	}
	if len(answer.Embeddings) != len(req.Input) {
		return nil, status.Publicf(status.Internal, "the server gave %d embeddings for %d texts", len(answer.Embeddings), len(req.Input))
	}
	resp := &embed.Response{Embeddings: make([]embed.Embedding, len(answer.Embeddings))}
	for i, e := range answer.Embeddings {
		if len(e.Values) == 0 {
			return nil, status.Publicf(status.Internal, "an embedding of the server is empty")
		}
		resp.Embeddings[i].Vector = e.Values
	}
	return resp, nil
}
