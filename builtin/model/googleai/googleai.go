// Package googleai brings the models of Google's Gemini API: chat, pictures and speech by
// generateContent, and embedders.
//
// It owns the mapping between Genkit's model request and the API's JSON, and the reading of
// its streams. It reads no environment, file or global setting; [FromEnv] is the one helper
// that does. Use:
//
//	p, err := googleai.New(googleai.Config{APIKey: key})
//	…
//	defer p.Close()
//	err = reg.AddProvider(p)
//	m, err := reg.Resolve(ctx, "googleai/gemini-2.5-flash", action.Model)
package googleai

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/gemini"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Defaults of [Config].
const (
	DefaultName             = "googleai"
	DefaultBaseURL          = "https://generativelanguage.googleapis.com"
	DefaultVersion          = "v1beta"
	DefaultMaxResponseBytes = wire.DefaultMaxResponseBytes
	// DefaultMaxChunkBytes is larger than that of other providers: a picture comes in one
	// event.
	DefaultMaxChunkBytes = 24 << 20
)

// Config says which server to ask and how. The zero value asks Google without a key, so
// that every request has to bring its own.
type Config struct {
	// Name is the provider's name and the first segment of its models' names; empty
	// means [DefaultName]. It holds no slash.
	Name string
	// BaseURL is the URL to which "/<version>/models/…" is added; empty means
	// [DefaultBaseURL]. It holds no user, query or fragment.
	BaseURL string
	// APIKey is sent as x-goog-api-key; a request's config.apiKey goes before it.
	APIKey string `json:"-"`
	// KeyVariable names the environment variable of the key, for the error that a server
	// gives to a call without one; [FromEnv] sets it.
	KeyVariable string
	// Version is the API's version; empty means [DefaultVersion].
	Version string
	// HTTPClient makes the requests; nil means a client of the provider's own, without
	// proxy and without a time limit beyond the caller's context. Its redirect policy is
	// replaced: a redirect to another host is not followed.
	HTTPClient *http.Client `json:"-"`
	// Headers are added to every request. Their values are kept out of error messages.
	Headers http.Header `json:"-"`
	// Models are listed, and say what each can do. An entry replaces the catalogue's entry
	// of its ID. The catalogue itself is listed only when BaseURL is Google's.
	Models []ModelConfig
	// NoModelListing keeps [Provider.List] from asking a server other than Google's for its
	// models.
	NoModelListing bool
	// MaxResponseBytes bounds one answer, streamed or not; 0 means
	// [DefaultMaxResponseBytes].
	MaxResponseBytes int64
	// MaxChunkBytes bounds one event of a stream; 0 means [DefaultMaxChunkBytes].
	MaxChunkBytes int
}

// String leaves the credentials out.
func (c Config) String() string {
	return fmt.Sprintf("googleai.Config{Name: %q, BaseURL: %q}", c.Name, c.BaseURL)
}

// GoString leaves the credentials out.
func (c Config) GoString() string { return c.String() }

// LogValue leaves the credentials out.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Environment are the variables that [FromEnv] reads. The first of the keys that is set
// counts.
var Environment = []string{"GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_API_KEY", "GOOGLE_GEMINI_BASE_URL"}

// FromEnv returns a Config from [Environment], with a client that uses the proxy of
// HTTPS_PROXY and its kin.
func FromEnv() Config {
	return Config{
		APIKey:  cmp.Or(os.Getenv(Environment[0]), os.Getenv(Environment[1]), os.Getenv(Environment[2])),
		BaseURL: os.Getenv(Environment[3]), KeyVariable: Environment[0], HTTPClient: wire.FromEnvironment(),
	}
}

// Provider gives models of one server. It is safe for concurrent use.
type Provider struct {
	*wire.Provider
	cfg Config // with the defaults
}

var _ registry.Provider = (*Provider)(nil)

var (
	versionForm = regexp.MustCompile(`^v[0-9][a-z0-9]*$`)
	idForm      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)
)

// New returns a provider; INVALID_ARGUMENT when cfg can't work. It asks the server
// nothing. Redirects are followed only when they keep method, scheme and host, so that
// neither a key nor a prompt reaches another server.
func New(cfg Config) (*Provider, error) {
	cfg.Name, cfg.Version = wire.Or(cfg.Name, DefaultName), wire.Or(cfg.Version, DefaultVersion)
	cfg.BaseURL = strings.TrimRight(wire.Or(cfg.BaseURL, DefaultBaseURL), "/")
	cfg.MaxChunkBytes = wire.Or(cfg.MaxChunkBytes, DefaultMaxChunkBytes)
	cfg.Headers = cfg.Headers.Clone()
	switch {
	case cfg.MaxChunkBytes < 0:
		return nil, status.Publicf(status.InvalidArgument, "the limits of provider %q must not be negative", cfg.Name)
	case !versionForm.MatchString(cfg.Version):
		return nil, status.Publicf(status.InvalidArgument, "version %q of the API is not one such as v1beta", cfg.Version)
	}
	p := &Provider{cfg: cfg, Provider: &wire.Provider{
		Peer: &wire.Server{
			Name: cfg.Name, BaseURL: cfg.BaseURL, APIKey: cfg.APIKey, KeyVariable: cfg.KeyVariable, Headers: cfg.Headers,
			MaxResponseBytes: cfg.MaxResponseBytes, Authorize: func(h http.Header, key string) { h.Set("X-Goog-Api-Key", key) },
		},
		AsksForList: cfg.BaseURL != DefaultBaseURL && !cfg.NoModelListing,
	}}
	if err := p.Peer.Open(cfg.HTTPClient); err != nil {
		return nil, err
	}
	p.Shelf.Name, p.Shelf.Make = cfg.Name, p.make
	p.Remote.Ask, p.Remote.Describe = p.Models, p.describe
	return p, p.list()
}

// String names the provider without its credentials.
func (p *Provider) String() string { return p.cfg.String() }

// list makes the models and embedders of the catalogue and of cfg.Models.
func (p *Provider) list() error {
	entries := p.cfg.Models
	if p.cfg.BaseURL == DefaultBaseURL {
		entries = append(Catalogue(), entries...)
		for _, e := range embedders {
			a, err := p.newEmbedder(e.id)
			if err != nil {
				return err
			}
			p.Shelf.Put(a)
		}
	}
	for _, e := range entries {
		m, err := p.newModel(e.ID, e.Info)
		if err != nil {
			return err
		}
		p.Shelf.Put(m)
	}
	return nil
}

// make makes the action of an id that is not listed.
func (p *Provider) make(kind action.Kind, id string) (action.Action, error) {
	if kind == action.Embedder {
		return p.newEmbedder(id)
	}
	return p.newModel(id, model.Info{Supports: gemini.Supports(id)})
}

func (p *Provider) newModel(id string, info model.Info) (model.Model, error) {
	if !idForm.MatchString(id) {
		return nil, status.Publicf(status.InvalidArgument, "%q is no id of a model of provider %q", wire.Clip(id, 64), p.cfg.Name)
	}
	if info.ConfigSchema == nil {
		var err error
		if info.ConfigSchema, err = schema.Infer[Options](); err != nil {
			return nil, err
		}
	}
	supports := info.Supports
	return wire.NewModel(p.cfg.Name+"/"+id, info, func(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
		return p.generate(ctx, id, supports, req, send)
	})
}

// path is the path of a verb of a model; an id such as tunedModels/x is one as it stands.
func (p *Provider) path(id, verb string) (string, error) {
	if !idForm.MatchString(id) {
		return "", status.Publicf(status.InvalidArgument, "%q is no id of a model", wire.Clip(id, 64))
	}
	return "/" + p.cfg.Version + "/" + resource(id) + ":" + verb, nil
}

func resource(id string) string {
	if strings.Contains(id, "/") {
		return id
	}
	return "models/" + id
}

// generate is one generateContent, or more where the server ends an answer with
// CONTINUATION.
func (p *Provider) generate(ctx context.Context, id string, supports model.Supports, req *model.Request, send model.Send) (*model.Response, error) {
	r, err := gemini.NewRequest(id, supports, req)
	if err != nil {
		return nil, err
	}
	verb, accept := "generateContent", wire.JSON
	if send != nil {
		verb, accept = "streamGenerateContent", wire.EventStream
	}
	out := wire.Outgoing{Key: p.Peer.Key(ctx), Accept: accept, Body: r.Body}
	if out.Path, err = p.path(r.ID, verb); err != nil {
		return nil, err
	}
	if send != nil {
		out.Path += "?alt=sse"
	}
	a := gemini.NewAnswer(r, func(s string) string { return p.Peer.Clean(s, out.Key, wire.MaxMessageText) })
	return p.Peer.Converse(ctx, out, p.cfg.MaxChunkBytes, a, send)
}

// Models asks the server for its models that generate or embed, a page of at most 1,000:
// GET {BaseURL}/{Version}/models, with the provider's key. It blocks until the answer is
// there or ctx ends, and fails with the codes that a model call fails with.
func (p *Provider) Models(ctx context.Context) ([]wire.RemoteModel, error) {
	raw, err := p.Peer.Fetch(ctx, wire.Outgoing{Path: "/" + p.cfg.Version + "/models?pageSize=1000", Key: p.Peer.APIKey, Accept: wire.JSON})
	if err != nil {
		return nil, err
	}
	var list struct {
		Models wire.Entries[struct {
			Name    string   `json:"name"`
			Methods []string `json:"supportedGenerationMethods"`
		}] `json:"models"`
	}
	if err := p.Peer.Read(raw, &list, "models", p.Peer.APIKey); err != nil {
		return nil, err
	}
	var models []wire.RemoteModel
	for _, m := range list.Models {
		r := wire.RemoteModel{ID: strings.TrimPrefix(m.Name, "models/")}
		if slices.Contains(m.Methods, "generateContent") || gemini.IsEmbedder(r.ID) {
			models = append(models, r)
		}
	}
	return models, nil
}

func (p *Provider) describe(m wire.RemoteModel) (action.Desc, bool) {
	kind := action.Model
	if gemini.IsEmbedder(m.ID) {
		kind = action.Embedder
	}
	a, err := p.make(kind, m.ID)
	if err != nil {
		return action.Desc{}, false
	}
	return a.Desc(), true
}
