// Package openai brings models that speak OpenAI's chat-completions API: those of
// OpenAI itself and of every server that is compatible with it (vLLM, llama.cpp,
// Ollama, OpenRouter and others), and the embedders, pictures, speech and
// transcription of the same family.
//
// It owns the mapping between Genkit's model request and the API's JSON, the
// reading of its event stream and the translation of its errors. It reads no
// environment, file or global setting; [FromEnv] is the one helper that does. Use:
//
//	p, err := openai.New(openai.Config{APIKey: key})
//	…
//	defer p.Close()
//	err = reg.AddProvider(p)
//	m, err := reg.Resolve(ctx, "openai/gpt-5-mini", action.Model)
//
// A local server needs no key; its models are listed as it tells them:
//
//	openai.New(openai.Config{Name: "local", BaseURL: "http://127.0.0.1:8080/v1", MaxTokensKey: "max_tokens"})
package openai

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Defaults of [Config].
const (
	DefaultName             = "openai"
	DefaultBaseURL          = "https://api.openai.com/v1"
	DefaultMaxTokensKey     = "max_completion_tokens"
	DefaultMaxResponseBytes = wire.DefaultMaxResponseBytes
	DefaultMaxChunkBytes    = wire.DefaultMaxChunkBytes
)

// Config says which server to ask and how. The zero value asks OpenAI without a
// key, so that every request has to bring its own.
type Config struct {
	// Name is the provider's name and the first segment of its models' names;
	// empty means [DefaultName]. It holds no slash.
	Name string
	// BaseURL is the URL to which "/chat/completions" is added; empty means
	// [DefaultBaseURL]. It holds no user, query or fragment.
	BaseURL string
	// APIKey is sent as a bearer token. It may be empty for local servers, and
	// a request's config.apiKey goes before it.
	APIKey string `json:"-"`
	// KeyVariable names the environment variable of the key, for the error that a
	// server gives to a call without one; [FromEnv] sets it.
	KeyVariable string
	// HTTPClient makes the requests; nil means a client of the provider's own,
	// without proxy and without a time limit beyond the caller's context. Its
	// redirect policy is replaced: see [New].
	HTTPClient *http.Client `json:"-"`
	// Headers are added to every request, such as OpenAI-Organization. Their
	// values are kept out of error messages as the key is.
	Headers http.Header `json:"-"`
	// Models are listed, and say what each can do. An entry replaces the
	// catalogue's entry of its ID. The catalogue itself is listed only when
	// BaseURL is OpenAI's; see [Catalogue].
	Models []ModelConfig
	// NoModelListing keeps [Provider.List] from asking a server other than OpenAI's
	// for its models.
	NoModelListing bool
	// UnlistedSupports are the capabilities that models that are not listed are taken to
	// support; nil means everything that this API can carry.
	UnlistedSupports *model.Supports
	// Profile lists the differences of the server from OpenAI's; nil means
	// [ProfileFor] of BaseURL.
	Profile *Profile
	// MaxTokensKey is the body field for maxOutputTokens, such as "max_tokens"; empty
	// means the profile's.
	MaxTokensKey string
	// DropReasoning leaves reasoning parts out of what is sent, whatever the profile
	// says.
	DropReasoning bool
	// MaxResponseBytes bounds one answer, streamed or not; 0 means
	// [DefaultMaxResponseBytes].
	MaxResponseBytes int64
	// MaxChunkBytes bounds one event of a stream; 0 means
	// [DefaultMaxChunkBytes].
	MaxChunkBytes int
}

// String leaves the credentials out.
func (c Config) String() string {
	return fmt.Sprintf("openai.Config{Name: %q, BaseURL: %q}", c.Name, c.BaseURL)
}

// GoString leaves the credentials out.
func (c Config) GoString() string { return c.String() }

// LogValue leaves the credentials out.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

const keyVariable = "OPENAI_API_KEY"

// Environment are the variables that [FromEnv] reads.
var Environment = []string{keyVariable, "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"}

// FromEnv returns a Config from [Environment], as OpenAI's own clients read them, with a client that uses
// the proxy of HTTPS_PROXY and its kin.
func FromEnv() Config {
	cfg := Config{APIKey: os.Getenv(keyVariable), KeyVariable: keyVariable, BaseURL: os.Getenv("OPENAI_BASE_URL"), Headers: http.Header{}}
	if org := os.Getenv("OPENAI_ORG_ID"); org != "" {
		cfg.Headers.Set("OpenAI-Organization", org)
	}
	if project := os.Getenv("OPENAI_PROJECT_ID"); project != "" {
		cfg.Headers.Set("OpenAI-Project", project)
	}
	cfg.HTTPClient = wire.FromEnvironment()
	return cfg
}

// Provider gives models of one server. It is safe for concurrent use.
type Provider struct {
	cfg     Config // with the defaults
	profile Profile
	server  string // see [serverID]
	peer    *wire.Server
	shelf   wire.Shelf
	remote  wire.Listing
	// noStreamOptions is set once the server refused stream_options.
	noStreamOptions atomic.Bool
}

var _ registry.Provider = (*Provider)(nil)

// New returns a provider; INVALID_ARGUMENT when cfg can't work. It asks the server
// nothing. Redirects are followed only when they keep method, scheme and host, so
// that neither a key nor a prompt reaches another server.
func New(cfg Config) (*Provider, error) {
	cfg, err := complete(cfg)
	if err != nil {
		return nil, err
	}
	p := &Provider{cfg: cfg, profile: *cfg.Profile, server: serverID(cfg.BaseURL)}
	p.peer = &wire.Server{
		Name: cfg.Name, BaseURL: cfg.BaseURL, APIKey: cfg.APIKey, KeyVariable: cfg.KeyVariable, Headers: cfg.Headers,
		AccountHeaders: []string{"Openai-Organization", "Openai-Project"}, MaxResponseBytes: cfg.MaxResponseBytes, Authorize: p.profile.authorize,
	}
	if err := p.peer.Open(cfg.HTTPClient); err != nil {
		return nil, err
	}
	p.shelf.Name, p.shelf.Make = cfg.Name, p.unlisted
	p.remote.Ask, p.remote.Describe = p.Models, p.describe
	return p, p.list()
}

func complete(cfg Config) (Config, error) {
	cfg.Name = wire.Or(cfg.Name, DefaultName)
	cfg.BaseURL = strings.TrimRight(wire.Or(cfg.BaseURL, DefaultBaseURL), "/")
	profile := ProfileFor(cfg.BaseURL)
	if cfg.Profile != nil {
		profile = *cfg.Profile
	}
	profile = profile.complete()
	if cfg.DropReasoning {
		profile.ReasoningOut, profile.ReasoningFiller = NoReasoning, nil
	}
	cfg.Profile = &profile
	cfg.MaxTokensKey = wire.Or(cfg.MaxTokensKey, profile.MaxTokensKey)
	cfg.MaxResponseBytes = wire.Or(cfg.MaxResponseBytes, DefaultMaxResponseBytes)
	cfg.MaxChunkBytes = wire.Or(cfg.MaxChunkBytes, DefaultMaxChunkBytes)
	cfg.Headers = cfg.Headers.Clone()
	switch {
	case cfg.MaxChunkBytes < 0:
		return cfg, status.Publicf(status.InvalidArgument, "the limits of provider %q must not be negative", cfg.Name)
	case !wireKey.MatchString(cfg.MaxTokensKey) || managed[cfg.MaxTokensKey]:
		return cfg, status.Publicf(status.InvalidArgument, "max tokens key %q is not usable", cfg.MaxTokensKey)
	}
	return cfg, nil
}

// list makes the models and embedders of the catalogue and of cfg.Models.
func (p *Provider) list() error {
	var entries []ModelConfig
	if p.cfg.BaseURL == DefaultBaseURL {
		entries = Catalogue()
	}
	entries = append(entries, p.cfg.Models...)
	for _, e := range entries {
		a, err := p.make(e.ID, wire.Or(e.Kind, kindOf(e.ID)), e.Info)
		if err != nil {
			return err
		}
		p.shelf.Put(a)
	}
	return nil
}

// make makes the action of a model or an embedder.
func (p *Provider) make(id string, kind Kind, info model.Info) (action.Action, error) {
	if kind == Embedding {
		if id == "" {
			return nil, status.Publicf(status.InvalidArgument, "an embedder of provider %q has no id", p.cfg.Name)
		}
		return p.newEmbedder(id)
	}
	if kind != Chat && info.Supports.Output == nil {
		info.Supports, _ = kind.about()
	}
	return p.newModel(id, kind, info)
}

// unlistedInfo is the description of models that are not listed.
func (p *Provider) unlistedInfo(kind Kind) model.Info {
	supports, _ := kind.about()
	if kind == Chat {
		supports.Constrained = wire.Or(p.profile.Constrained, supports.Constrained)
		if p.cfg.UnlistedSupports != nil {
			supports = *p.cfg.UnlistedSupports
		}
	}
	return model.Info{Supports: supports}
}

// Name returns the provider's name.
func (p *Provider) Name() string { return p.cfg.Name }

// String names the provider without its credentials.
func (p *Provider) String() string { return p.cfg.String() }

// Resolve returns the model of "/model/<name>/<id>" or the embedder of
// "/embedder/<name>/<id>", for any id: whether the server knows it shows when it is
// asked. Everything else is NOT_FOUND.
func (p *Provider) Resolve(_ context.Context, key action.Key) (action.Action, error) {
	return p.shelf.Resolve(key)
}

// unlisted makes the action of an id that is not listed.
func (p *Provider) unlisted(of action.Kind, id string) (action.Action, error) {
	kind := kindOf(id)
	switch {
	case of == action.Embedder:
		kind = Embedding
	case kind == Embedding:
		kind = Chat
	}
	return p.make(id, kind, p.unlistedInfo(kind))
}

// List describes the listed models and embedders and, when the server is not OpenAI's,
// those that it says it has: GET {BaseURL}/models, at most every five minutes and for at
// most three seconds. A server that can't be asked takes nothing from the list: what it
// said before stays. [Provider.Models] tells why.
func (p *Provider) List(ctx context.Context) ([]action.Desc, error) {
	descs := p.shelf.Descs()
	if p.cfg.BaseURL == DefaultBaseURL || p.cfg.NoModelListing {
		return descs, nil
	}
	return p.remote.List(ctx, descs)
}

func (p *Provider) describe(m RemoteModel) (action.Desc, bool) {
	kind := kindOf(m.ID)
	a, err := p.make(m.ID, kind, p.unlistedInfo(kind))
	if err != nil {
		return action.Desc{}, false
	}
	return a.Desc(), true
}

// RemoteModel is a model that the server says it has.
type RemoteModel = wire.RemoteModel

// Models asks the server for its models: GET {BaseURL}/models, with the provider's
// key. It blocks until the answer is there or ctx ends, and fails with the codes
// that a model call fails with.
func (p *Provider) Models(ctx context.Context) ([]RemoteModel, error) {
	raw, err := p.peer.Fetch(ctx, wire.Outgoing{Path: "/models", Key: p.cfg.APIKey, Accept: wire.JSON})
	if err != nil {
		return nil, err
	}
	var list struct {
		Data wire.Entries[RemoteModel] `json:"data"`
	}
	if err := p.peer.Read(raw, &list, "models", p.cfg.APIKey); err != nil {
		return nil, err
	}
	return list.Data, nil
}

// BaseURL returns the URL below which every request of the provider goes.
func (p *Provider) BaseURL() string { return p.cfg.BaseURL }

// WithKey returns a view of p for one of several accounts: its models and embedders are p's,
// and are asked with the key that key returns, where a request brings none of its own. An
// empty key stands for p's. key is asked at each call, concurrently; its error ends the call,
// so that no other account pays for it.
//
// A request with an account's key carries no OpenAI-Organization and OpenAI-Project of p's
// configuration, which are those of p's own key. Everything else is as with config.apiKey:
// the key goes to p's server alone, and into no trace, answer or error.
func (p *Provider) WithKey(key func(ctx context.Context) (string, error)) registry.Provider {
	return wire.WithKey(p, key)
}

// Unset stands in for a provider that is not configured, so that asking for one of its
// models names the missing setting instead of NOT_FOUND: FAILED_PRECONDITION with hint, such
// as "set OPENAI_API_KEY". It lists nothing.
func Unset(name, hint string) registry.Provider { return wire.Unset(name, hint) }

// Close lets go of idle connections. Calls under way go on.
func (p *Provider) Close() error { return p.peer.Close() }
