package vertexai

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// embedders are those of the catalogue, with the length of their vectors and how many texts
// one request takes.
var embedders = []struct {
	id                string
	dimensions, batch int
}{{"gemini-embedding-001", 3072, 1}, {"text-embedding-005", 768, maxEmbeddings}, {"text-multilingual-embedding-002", 768, maxEmbeddings}}

const maxEmbeddings = 250

// EmbedOptions are the options of an embed request.
type EmbedOptions struct {
	Version              string `json:"version,omitempty" jsonschema_description:"Model id to ask for instead of the one in the embedder's name."`
	APIKey               string `json:"apiKey,omitempty" jsonschema_description:"Key for this request instead of the provider's; it is not recorded."`
	TaskType             string `json:"taskType,omitempty" jsonschema_description:"What the vectors are for, such as RETRIEVAL_DOCUMENT."`
	Title                string `json:"title,omitempty" jsonschema_description:"The document's title, with RETRIEVAL_DOCUMENT."`
	OutputDimensionality int    `json:"outputDimensionality,omitempty" jsonschema:"minimum=1" jsonschema_description:"How long the vectors are."`
	AutoTruncate         *bool  `json:"autoTruncate,omitempty" jsonschema_description:"Whether a text that is too long is cut instead of refused."`
}

type wireInstance struct {
	Content  string `json:"content"`
	TaskType string `json:"task_type,omitempty"`
	Title    string `json:"title,omitempty"`
}

type wirePredict struct {
	Instances  []wireInstance  `json:"instances"`
	Parameters *wireParameters `json:"parameters,omitempty"`
}

type wireParameters struct {
	OutputDimensionality int   `json:"outputDimensionality,omitempty"`
	AutoTruncate         *bool `json:"autoTruncate,omitempty"`
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
			info.Dimensions, info.BatchSize = e.dimensions, e.batch
		}
	}
	return wire.NewEmbedder(p.cfg.Name+"/"+id, info, func(ctx context.Context, texts []string, options json.RawMessage) ([][]float64, error) {
		return p.embed(ctx, id, texts, options)
	})
}

// embed is one predict.
func (p *Provider) embed(ctx context.Context, id string, texts []string, options json.RawMessage) ([][]float64, error) {
	conf, err := wire.Decode[EmbedOptions](options, "embed options")
	if err != nil {
		return nil, err
	}
	body := &wirePredict{}
	for _, text := range texts {
		body.Instances = append(body.Instances, wireInstance{text, conf.TaskType, conf.Title})
	}
	if parameters := (wireParameters{conf.OutputDimensionality, conf.AutoTruncate}); parameters != (wireParameters{}) {
		body.Parameters = &parameters
	}
	out := wire.Outgoing{Accept: wire.JSON}
	if out.Path, err = p.path("v1beta1", wire.Or(conf.Version, id), "predict"); err != nil {
		return nil, err
	}
	if out.Body, err = rawjson.Encode(body); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "encode the request: %w", err)
	}
	if err = p.authorize(ctx, &out); err != nil {
		return nil, err
	}
	raw, err := p.Peer.Fetch(ctx, out)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Predictions []struct {
			Embeddings struct {
				Values []float64 `json:"values"`
			} `json:"embeddings"`
		} `json:"predictions"`
	}
	if err := p.Peer.Read(raw, &answer, "predict", out.Key); err != nil {
		return nil, err
	}
	vectors := make([][]float64, len(answer.Predictions))
	for i, e := range answer.Predictions {
		vectors[i] = e.Embeddings.Values
	}
	return vectors, nil
}
