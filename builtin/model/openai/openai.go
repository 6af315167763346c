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
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"

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
	DefaultMaxResponseBytes = 32 << 20
	DefaultMaxChunkBytes    = 4 << 20
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

// FromEnv returns a Config from OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_ORG_ID and
// OPENAI_PROJECT_ID, as OpenAI's own clients read them, with a client that uses
// the proxy of HTTPS_PROXY and its kin.
func FromEnv() Config {
	cfg := Config{APIKey: os.Getenv(keyVariable), KeyVariable: keyVariable, BaseURL: os.Getenv("OPENAI_BASE_URL"), Headers: http.Header{}}
	if org := os.Getenv("OPENAI_ORG_ID"); org != "" {
		cfg.Headers.Set("OpenAI-Organization", org)
	}
	if project := os.Getenv("OPENAI_PROJECT_ID"); project != "" {
		cfg.Headers.Set("OpenAI-Project", project)
	}
	transport := newTransport()
	transport.Proxy = http.ProxyFromEnvironment
	cfg.HTTPClient = &http.Client{Transport: transport}
	return cfg
}

// Provider gives models of one server. It is safe for concurrent use.
type Provider struct {
	cfg       Config // with the defaults
	profile   Profile
	server    string // see [serverID]
	client    *http.Client
	transport *http.Transport // of its own, else nil
	listed    map[action.Key]action.Action
	descs     []action.Desc
	// noStreamOptions is set once the server refused stream_options.
	noStreamOptions atomic.Bool

	remote listing

	mu       sync.Mutex // guards the fields below
	unlisted map[action.Key]action.Action
	order    []action.Key // keys of unlisted, oldest first
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
	p := &Provider{cfg: cfg, profile: *cfg.Profile, server: serverID(cfg.BaseURL), unlisted: map[action.Key]action.Action{}, remote: newListing()}
	client := cfg.HTTPClient
	if client == nil {
		p.transport = newTransport()
		client = &http.Client{Transport: p.transport}
	}
	own := *client
	own.CheckRedirect = sameServer
	p.client = &own
	return p, p.list()
}

func complete(cfg Config) (Config, error) {
	cfg.Name = or(cfg.Name, DefaultName)
	cfg.BaseURL = strings.TrimRight(or(cfg.BaseURL, DefaultBaseURL), "/")
	profile := ProfileFor(cfg.BaseURL)
	if cfg.Profile != nil {
		profile = *cfg.Profile
	}
	profile = profile.complete()
	if cfg.DropReasoning {
		profile.ReasoningOut, profile.ReasoningFiller = NoReasoning, nil
	}
	cfg.Profile = &profile
	cfg.MaxTokensKey = or(cfg.MaxTokensKey, profile.MaxTokensKey)
	cfg.MaxResponseBytes = or(cfg.MaxResponseBytes, DefaultMaxResponseBytes)
	cfg.MaxChunkBytes = or(cfg.MaxChunkBytes, DefaultMaxChunkBytes)
	cfg.Headers = cfg.Headers.Clone()
	switch {
	case strings.Contains(cfg.Name, "/"):
		return cfg, status.Publicf(status.InvalidArgument, "provider name %q holds a slash", cfg.Name)
	case cfg.MaxResponseBytes < 0 || cfg.MaxChunkBytes < 0:
		return cfg, status.Publicf(status.InvalidArgument, "the limits of provider %q must not be negative", cfg.Name)
	case !wireKey.MatchString(cfg.MaxTokensKey) || managed[cfg.MaxTokensKey]:
		return cfg, status.Publicf(status.InvalidArgument, "max tokens key %q is not usable", cfg.MaxTokensKey)
	}
	if err := checkKey(cfg.APIKey); err != nil {
		return cfg, err
	}
	// The URL may hold a password, so that no text of it is shown.
	u, err := url.Parse(cfg.BaseURL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || strings.ContainsAny(cfg.BaseURL, "?#") {
		return cfg, status.Publicf(status.InvalidArgument, "the base URL of provider %q must be http(s)://host/path without user, query and fragment", cfg.Name)
	}
	return cfg, nil
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// list makes the models and embedders of the catalogue and of cfg.Models.
func (p *Provider) list() error {
	var entries []ModelConfig
	if p.cfg.BaseURL == DefaultBaseURL {
		entries = Catalogue()
	}
	entries = append(entries, p.cfg.Models...)
	p.listed = make(map[action.Key]action.Action, len(entries))
	keys := make([]action.Key, len(entries))
	for i, e := range entries {
		a, err := p.make(e.ID, or(e.Kind, kindOf(e.ID)), e.Info)
		if err != nil {
			return err
		}
		keys[i] = a.Desc().Key()
		p.listed[keys[i]] = a
	}
	for _, key := range keys {
		p.descs = append(p.descs, p.listed[key].Desc())
	}
	p.descs = distinct(p.descs)
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
		supports.Constrained = or(p.profile.Constrained, supports.Constrained)
		if p.cfg.UnlistedSupports != nil {
			supports = *p.cfg.UnlistedSupports
		}
	}
	return model.Info{Supports: supports}
}

// distinct keeps the first of each key.
func distinct(descs []action.Desc) []action.Desc {
	seen := map[action.Key]bool{}
	var kept []action.Desc
	for _, d := range descs {
		if !seen[d.Key()] {
			seen[d.Key()] = true
			kept = append(kept, d)
		}
	}
	return kept
}

// Name returns the provider's name.
func (p *Provider) Name() string { return p.cfg.Name }

// String names the provider without its credentials.
func (p *Provider) String() string { return p.cfg.String() }

// maxUnlisted bounds how many models and embedders of unlisted ids are kept.
const maxUnlisted = 256

// Resolve returns the model of "/model/<name>/<id>" or the embedder of
// "/embedder/<name>/<id>", for any id: whether the server knows it shows when it is
// asked. Everything else is NOT_FOUND.
func (p *Provider) Resolve(_ context.Context, key action.Key) (action.Action, error) {
	id, mine := strings.CutPrefix(key.Name, p.cfg.Name+"/")
	if (key.Kind != action.Model && key.Kind != action.Embedder) || !mine || id == "" {
		return nil, status.Publicf(status.NotFound, "%s %q not found", key.Kind, key.Name)
	}
	if a := p.listed[key]; a != nil {
		return a, nil
	}
	if a := p.kept(key); a != nil {
		return a, nil
	}
	kind := kindOf(id)
	switch {
	case key.Kind == action.Embedder:
		kind = Embedding
	case kind == Embedding:
		kind = Chat
	}
	a, err := p.make(id, kind, p.unlistedInfo(kind))
	if err != nil {
		return nil, err
	}
	return p.keep(key, a), nil
}

func (p *Provider) kept(key action.Key) action.Action {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unlisted[key]
}

// keep returns the action that another call may have kept meanwhile, else a.
func (p *Provider) keep(key action.Key, a action.Action) action.Action {
	p.mu.Lock()
	defer p.mu.Unlock()
	if earlier := p.unlisted[key]; earlier != nil {
		return earlier
	}
	if len(p.order) == maxUnlisted {
		delete(p.unlisted, p.order[0])
		p.order = p.order[1:]
	}
	p.unlisted[key] = a
	p.order = append(p.order, key)
	return a
}

// Close lets go of idle connections. Calls under way go on.
func (p *Provider) Close() error {
	if p.transport != nil {
		p.transport.CloseIdleConnections()
	}
	return nil
}
