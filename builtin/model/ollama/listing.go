package ollama

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

const (
	// maxShown bounds of how many models the server is asked what they can do, and
	// showAtOnce how many at the same time.
	maxShown   = 100
	showAtOnce = 4
)

// capabilities are what a server says that a model can do.
type capabilities struct {
	digest     string
	names      []string
	dimensions int
}

func (c capabilities) supports() model.Supports {
	s := everything()
	s.Media, s.Tools = slices.Contains(c.names, "vision"), slices.Contains(c.names, "tools")
	return s
}

func (c capabilities) embeds() bool {
	return slices.Contains(c.names, "embedding") && !slices.Contains(c.names, "completion")
}

// Models asks the server for its models, GET {BaseURL}/api/tags, and what each can do, POST
// {BaseURL}/api/show; that is kept while a model's digest stays. It blocks until the answers
// are there or ctx ends, and fails with the codes that a model call fails with. A model of
// which the server can't tell what it can do is taken to do everything.
func (p *Provider) Models(ctx context.Context) ([]wire.RemoteModel, error) {
	raw, err := p.Peer.Fetch(ctx, wire.Outgoing{Path: "/api/tags", Key: p.Peer.APIKey, Accept: wire.JSON})
	if err != nil {
		return nil, err
	}
	var list struct {
		Models wire.Entries[tag] `json:"models"`
	}
	if err := p.Peer.Read(raw, &list, "tags", p.Peer.APIKey); err != nil {
		return nil, err
	}
	models := make([]wire.RemoteModel, len(list.Models))
	for i, m := range list.Models {
		models[i].ID = wire.Or(m.Model, m.Name)
	}
	p.inspect(ctx, list.Models[:min(len(list.Models), maxShown)])
	return models, nil
}

// tag is an entry of the server's list.
type tag struct {
	Name   string `json:"name"`
	Model  string `json:"model"`
	Digest string `json:"digest"`
}

// inspect asks what models can do that are not known yet, and forgets all others.
func (p *Provider) inspect(ctx context.Context, tags []tag) {
	known := map[string]capabilities{}
	var mu sync.Mutex // guards known
	var wg sync.WaitGroup
	turns := make(chan struct{}, showAtOnce)
	for _, t := range tags {
		id := wire.Or(t.Model, t.Name)
		p.mu.Lock()
		before, ok := p.known[id]
		p.mu.Unlock()
		if ok && before.digest == t.Digest && t.Digest != "" {
			mu.Lock()
			known[id] = before
			mu.Unlock()
			continue
		}
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			c, err := p.show(ctx, id)
			if err != nil {
				return // it is taken to do everything
			}
			c.digest = t.Digest
			mu.Lock()
			defer mu.Unlock()
			known[id] = c
		})
	}
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = known
}

// show asks what one model can do.
func (p *Provider) show(ctx context.Context, id string) (capabilities, error) {
	var c capabilities
	body, err := rawjson.Encode(map[string]string{"model": id})
	if err != nil {
		return c, err
	}
	raw, err := p.Peer.Fetch(ctx, wire.Outgoing{Path: "/api/show", Key: p.Peer.APIKey, Accept: wire.JSON, Body: body})
	if err != nil {
		return c, err
	}
	var answer struct {
		Capabilities []string                   `json:"capabilities"`
		Info         map[string]json.RawMessage `json:"model_info"`
	}
	if err := p.Peer.Read(raw, &answer, "show", p.Peer.APIKey); err != nil {
		return c, err
	}
	if answer.Capabilities == nil { // a server of before they were told
		return c, status.Errorf(status.NotFound, "the server does not tell what %q can do", id)
	}
	c.names = answer.Capabilities
	for name, value := range answer.Info {
		if strings.HasSuffix(name, ".embedding_length") {
			c.dimensions = int(min(wire.Count(value), 1<<20))
		}
	}
	return c, nil
}

func (p *Provider) describe(m wire.RemoteModel) (action.Desc, bool) {
	p.mu.Lock()
	known := p.known[m.ID]
	p.mu.Unlock()
	kind := action.Model
	if known.embeds() {
		kind = action.Embedder
	}
	a, err := p.make(kind, m.ID)
	if err != nil {
		return action.Desc{}, false
	}
	return a.Desc(), true
}

// embed is one POST /api/embed.
func (p *Provider) embed(ctx context.Context, id string, texts []string, options json.RawMessage) ([][]float64, error) {
	conf, err := wire.Decode[EmbedOptions](options, "embed options")
	if err != nil {
		return nil, err
	}
	out := wire.Outgoing{Path: "/api/embed", Key: p.Peer.Key(ctx), Accept: wire.JSON}
	out.Body, err = rawjson.Encode(struct {
		Model      string          `json:"model"`
		Input      []string        `json:"input"`
		Dimensions int             `json:"dimensions,omitempty"`
		Truncate   *bool           `json:"truncate,omitempty"`
		KeepAlive  json.RawMessage `json:"keep_alive,omitempty"`
		Options    json.RawMessage `json:"options,omitempty"`
	}{wire.Or(conf.Version, id), texts, conf.Dimensions, conf.Truncate, conf.KeepAlive, conf.Options})
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "encode the request: %w", err)
	}
	raw, err := p.Peer.Fetch(ctx, out)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Embeddings [][]float64 `json:"embeddings"`
	}
	if err := p.Peer.Read(raw, &answer, "embed", out.Key); err != nil {
		return nil, err
	}
	return answer.Embeddings, nil
}
