// Package anthropic brings the models of Anthropic's Messages API, and of servers that
// speak it.
//
// It owns the mapping between Genkit's model request and the API's JSON, both of its
// versions, and the reading of its event stream. It reads no environment, file or global
// setting; [FromEnv] is the one helper that does. Use:
//
//	p, err := anthropic.New(anthropic.Config{APIKey: key})
//	…
//	defer p.Close()
//	err = reg.AddProvider(p)
//	m, err := reg.Resolve(ctx, "anthropic/claude-sonnet-5", action.Model)
package anthropic

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/claude"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Defaults of [Config].
const (
	DefaultName             = "anthropic"
	DefaultBaseURL          = "https://api.anthropic.com"
	DefaultMaxTokens        = 4096
	DefaultMaxResponseBytes = wire.DefaultMaxResponseBytes
	DefaultMaxChunkBytes    = wire.DefaultMaxChunkBytes
)

// The versions of the API: the header anthropic-version.
const (
	Version2023 = claude.Version2023
	// Version2026 knows no temperature, topP and topK, and keeps system messages at their
	// places in a conversation.
	Version2026 = claude.Version2026
)

// Config says which server to ask and how. The zero value asks Anthropic without a key, so
// that every request has to bring its own.
type Config struct {
	// Name is the provider's name and the first segment of its models' names; empty
	// means [DefaultName]. It holds no slash.
	Name string
	// BaseURL is the URL to which "/v1/messages" is added; empty means
	// [DefaultBaseURL]. It holds no user, query or fragment.
	BaseURL string
	// APIKey is sent as x-api-key; a request's config.apiKey goes before it. AuthToken, of
	// a gateway that wants a bearer token, is sent when there is no APIKey.
	APIKey    string `json:"-"`
	AuthToken string `json:"-"`
	// KeyVariable names the environment variable of the key, for the error that a server
	// gives to a call without one; [FromEnv] sets it.
	KeyVariable string
	// Version is the API's version; empty means [Version2023].
	Version string
	// Betas are sent as anthropic-beta, before those of a request.
	Betas []string
	// HTTPClient makes the requests; nil means a client of the provider's own, without
	// proxy and without a time limit beyond the caller's context. Its redirect policy is
	// replaced: a redirect to another host is not followed.
	HTTPClient *http.Client `json:"-"`
	// Headers are added to every request. Their values are kept out of error messages.
	Headers http.Header `json:"-"`
	// Models are listed, and say what each can do. An entry replaces the catalogue's entry
	// of its ID. The catalogue itself is listed only when BaseURL is Anthropic's.
	Models []ModelConfig
	// NoModelListing keeps [Provider.List] from asking a server other than Anthropic's for
	// its models.
	NoModelListing bool
	// MaxTokens is max_tokens of a request whose config says nothing; 0 means
	// [DefaultMaxTokens].
	MaxTokens int
	// MaxResponseBytes bounds one answer, streamed or not; 0 means
	// [DefaultMaxResponseBytes].
	MaxResponseBytes int64
	// MaxChunkBytes bounds one event of a stream; 0 means [DefaultMaxChunkBytes].
	MaxChunkBytes int
}

// String leaves the credentials out.
func (c Config) String() string {
	return fmt.Sprintf("anthropic.Config{Name: %q, BaseURL: %q}", c.Name, c.BaseURL)
}

// GoString leaves the credentials out.
func (c Config) GoString() string { return c.String() }

// LogValue leaves the credentials out.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Environment are the variables that [FromEnv] reads.
var Environment = []string{"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"}

// FromEnv returns a Config from [Environment], as Anthropic's own clients read it, with a
// client that uses the proxy of HTTPS_PROXY and its kin.
func FromEnv() Config {
	return Config{
		APIKey: os.Getenv(Environment[0]), AuthToken: os.Getenv(Environment[1]), KeyVariable: Environment[0],
		BaseURL: os.Getenv(Environment[2]), HTTPClient: wire.FromEnvironment(),
	}
}

// Provider gives models of one server. It is safe for concurrent use.
type Provider struct {
	*wire.Provider
	cfg Config // with the defaults
}

var _ registry.Provider = (*Provider)(nil)

// New returns a provider; INVALID_ARGUMENT when cfg can't work. It asks the server
// nothing. Redirects are followed only when they keep method, scheme and host, so that
// neither a key nor a prompt reaches another server.
func New(cfg Config) (*Provider, error) {
	cfg.Name, cfg.Version = wire.Or(cfg.Name, DefaultName), wire.Or(cfg.Version, Version2023)
	cfg.BaseURL = strings.TrimRight(wire.Or(cfg.BaseURL, DefaultBaseURL), "/")
	cfg.MaxChunkBytes, cfg.MaxTokens = wire.Or(cfg.MaxChunkBytes, DefaultMaxChunkBytes), wire.Or(cfg.MaxTokens, DefaultMaxTokens)
	cfg.Headers = cfg.Headers.Clone()
	switch {
	case cfg.MaxChunkBytes < 0 || cfg.MaxTokens < 0:
		return nil, status.Publicf(status.InvalidArgument, "the limits of provider %q must not be negative", cfg.Name)
	case cfg.Version != Version2023 && cfg.Version != Version2026:
		return nil, status.Publicf(status.InvalidArgument, "version %q of the API is not known; there are %s and %s", cfg.Version, Version2023, Version2026)
	}
	key, authorize := cfg.APIKey, func(h http.Header, key string) { h.Set("X-Api-Key", key) }
	if key == "" && cfg.AuthToken != "" {
		// A request's own key is a key all the same.
		key = cfg.AuthToken
		authorize = func(h http.Header, key string) {
			if key == cfg.AuthToken {
				wire.Bearer(h, key)
				return
			}
			h.Set("X-Api-Key", key)
		}
	}
	p := &Provider{cfg: cfg, Provider: &wire.Provider{
		Peer: &wire.Server{
			Name: cfg.Name, BaseURL: cfg.BaseURL, APIKey: key, KeyVariable: cfg.KeyVariable, Headers: cfg.Headers,
			MaxResponseBytes: cfg.MaxResponseBytes, Authorize: authorize,
		},
		AsksForList: cfg.BaseURL != DefaultBaseURL && !cfg.NoModelListing,
	}}
	if err := p.Peer.Open(cfg.HTTPClient); err != nil {
		return nil, err
	}
	p.Shelf.Name, p.Shelf.Make = cfg.Name, p.unlisted
	p.Remote.Ask, p.Remote.Describe = p.Models, p.describe
	return p, p.list()
}

// String names the provider without its credentials.
func (p *Provider) String() string { return p.cfg.String() }

// list makes the models of the catalogue and of cfg.Models.
func (p *Provider) list() error {
	var entries []ModelConfig
	if p.cfg.BaseURL == DefaultBaseURL {
		entries = Catalogue()
	}
	for _, e := range append(entries, p.cfg.Models...) {
		m, err := p.newModel(e.ID, e.Info)
		if err != nil {
			return err
		}
		p.Shelf.Put(m)
	}
	return nil
}

func (p *Provider) unlisted(kind action.Kind, id string) (action.Action, error) {
	if kind != action.Model {
		return nil, status.Publicf(status.NotFound, "%s %q not found: this API has none", kind, p.cfg.Name+"/"+id)
	}
	return p.newModel(id, model.Info{Supports: claude.Supports()})
}

func (p *Provider) newModel(id string, info model.Info) (model.Model, error) {
	if id == "" {
		return nil, status.Publicf(status.InvalidArgument, "a model of provider %q has no id", p.cfg.Name)
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

// generate is one POST /v1/messages.
func (p *Provider) generate(ctx context.Context, id string, supports model.Supports, req *model.Request, send model.Send) (*model.Response, error) {
	dialect := &claude.Dialect{Version: p.cfg.Version, MaxTokens: p.cfg.MaxTokens}
	r, err := dialect.Request(id, supports, req, send != nil)
	if err != nil {
		return nil, err
	}
	out := wire.Outgoing{Path: "/v1/messages", Key: p.Peer.Key(ctx), Accept: wire.JSON, Header: p.versions(r.Betas), Body: r.Body}
	if send != nil {
		out.Accept = wire.EventStream
	}
	a := claude.NewAnswer(r, func(s string) string { return p.Peer.Clean(s, out.Key, wire.MaxMessageText) })
	return p.Peer.Converse(ctx, out, p.cfg.MaxChunkBytes, a, send)
}

// Models asks the server for its models, a page of at most 1,000: GET
// {BaseURL}/v1/models, with the provider's key. It blocks until the answer is there or ctx
// ends, and fails with the codes that a model call fails with.
func (p *Provider) Models(ctx context.Context) ([]wire.RemoteModel, error) {
	query := url.Values{"limit": {"1000"}}
	raw, err := p.Peer.Fetch(ctx, wire.Outgoing{Path: "/v1/models?" + query.Encode(), Key: p.Peer.APIKey, Accept: wire.JSON, Header: p.versions(nil)})
	if err != nil {
		return nil, err
	}
	var list struct {
		Data wire.Entries[wire.RemoteModel] `json:"data"`
	}
	if err := p.Peer.Read(raw, &list, "models", p.Peer.APIKey); err != nil {
		return nil, err
	}
	return list.Data, nil
}

func (p *Provider) describe(m wire.RemoteModel) (action.Desc, bool) {
	a, err := p.newModel(m.ID, model.Info{Supports: claude.Supports()})
	if err != nil {
		return action.Desc{}, false
	}
	return a.Desc(), true
}

// versions are the headers that say which API is meant.
func (p *Provider) versions(betas []string) http.Header {
	h := http.Header{"Anthropic-Version": {p.cfg.Version}}
	if all := append(append([]string{}, p.cfg.Betas...), betas...); len(all) > 0 {
		h.Set("Anthropic-Beta", strings.Join(all, ","))
	}
	return h
}
