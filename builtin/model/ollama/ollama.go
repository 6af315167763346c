// Package ollama brings the models of an Ollama server by its own API: chat with tools,
// images, thinking and structured output, and embedders.
//
// It owns the mapping between Genkit's model request and the API's JSON, and the reading of
// its streams of lines. It reads no environment, file or global setting; [FromEnv] is the one
// helper that does. Use:
//
//	p, err := ollama.New(ollama.Config{})
//	…
//	defer p.Close()
//	err = reg.AddProvider(p)
//	m, err := reg.Resolve(ctx, "ollama/llama3.2", action.Model)
package ollama

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Defaults of [Config].
const (
	DefaultName             = "ollama"
	DefaultBaseURL          = "http://127.0.0.1:11434"
	DefaultMaxResponseBytes = wire.DefaultMaxResponseBytes
	DefaultMaxChunkBytes    = wire.DefaultMaxChunkBytes
)

const defaultPort = "11434"

// lineType is the content type of a stream.
const lineType = "application/x-ndjson"

// Config says which server to ask and how. The zero value asks a server on this machine.
type Config struct {
	// Name is the provider's name and the first segment of its models' names; empty
	// means [DefaultName]. It holds no slash.
	Name string
	// BaseURL is the URL to which "/api/chat" is added; empty means [DefaultBaseURL]. It
	// holds no user, query or fragment.
	BaseURL string
	// APIKey is sent as a bearer token, which a server of one's own does not want and
	// ollama.com does; a request's config.apiKey goes before it.
	APIKey string `json:"-"`
	// KeyVariable names the environment variable of the key, for the error that a server
	// gives to a call without one; [FromEnv] sets it.
	KeyVariable string
	// HTTPClient makes the requests; nil means a client of the provider's own, without
	// proxy and without a time limit beyond the caller's context. Its redirect policy is
	// replaced: a redirect to another host is not followed.
	HTTPClient *http.Client `json:"-"`
	// Headers are added to every request. Their values are kept out of error messages.
	Headers http.Header `json:"-"`
	// Models and Embedders are listed, and say what each can do. An embedder has the length
	// of its vectors, 0 where it is not known.
	Models    []ModelConfig
	Embedders map[string]int
	// NoModelListing keeps [Provider.List] from asking the server for its models.
	NoModelListing bool
	// MaxResponseBytes bounds one answer, streamed or not; 0 means
	// [DefaultMaxResponseBytes].
	MaxResponseBytes int64
	// MaxChunkBytes bounds one line of a stream; 0 means [DefaultMaxChunkBytes].
	MaxChunkBytes int
}

// ModelConfig describes the capabilities of one model.
type ModelConfig struct {
	// ID is the model's id on the server, such as "llama3.2:3b".
	ID string
	// Info is published with the model. Its ConfigSchema is replaced by that of this
	// package when it is nil.
	Info model.Info
}

// String leaves the credentials out.
func (c Config) String() string {
	return fmt.Sprintf("ollama.Config{Name: %q, BaseURL: %q}", c.Name, c.BaseURL)
}

// GoString leaves the credentials out.
func (c Config) GoString() string { return c.String() }

// LogValue leaves the credentials out.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Environment are the variables that [FromEnv] reads.
var Environment = []string{"OLLAMA_HOST", "OLLAMA_API_KEY"}

// FromEnv returns a Config from [Environment], as Ollama's own client reads it, with a client
// that uses the proxy of HTTPS_PROXY and its kin. OLLAMA_HOST is a URL, or a host with or
// without a port.
func FromEnv() Config {
	return Config{BaseURL: URLOf(os.Getenv(Environment[0])), APIKey: os.Getenv(Environment[1]), KeyVariable: Environment[1], HTTPClient: wire.FromEnvironment()}
}

// URLOf makes the base URL of a value of OLLAMA_HOST: http and port 11434 where it does not
// say otherwise, and the port of its scheme where it names one. Source: envconfig.Host of
// Ollama v0.17.
func URLOf(host string) string {
	host = strings.Trim(strings.TrimSpace(host), `"'`)
	if host == "" {
		return DefaultBaseURL
	}
	scheme, rest, named := strings.Cut(host, "://")
	port := map[string]string{"http": "80", "https": "443"}[scheme]
	if !named {
		scheme, rest, port = "http", host, defaultPort
		if host == "ollama.com" {
			scheme, port = "https", "443"
		}
	}
	hostport, path, _ := strings.Cut(rest, "/")
	if name, given, err := net.SplitHostPort(hostport); err == nil {
		hostport, port = name, wire.Or(given, port)
	}
	hostport = wire.Or(strings.Trim(hostport, "[]"), "127.0.0.1")
	return strings.TrimRight(scheme+"://"+net.JoinHostPort(hostport, port)+"/"+path, "/")
}

// Provider gives models of one server. It is safe for concurrent use.
type Provider struct {
	*wire.Provider
	cfg Config // with the defaults

	mu    sync.Mutex // guards known
	known map[string]capabilities
}

var _ registry.Provider = (*Provider)(nil)

// New returns a provider; INVALID_ARGUMENT when cfg can't work. It asks the server
// nothing. Redirects are followed only when they keep method, scheme and host, so that
// neither a key nor a prompt reaches another server.
func New(cfg Config) (*Provider, error) {
	cfg.Name, cfg.BaseURL = wire.Or(cfg.Name, DefaultName), strings.TrimRight(wire.Or(cfg.BaseURL, DefaultBaseURL), "/")
	cfg.MaxChunkBytes = wire.Or(cfg.MaxChunkBytes, DefaultMaxChunkBytes)
	cfg.Headers = cfg.Headers.Clone()
	if cfg.MaxChunkBytes < 0 {
		return nil, status.Publicf(status.InvalidArgument, "the limits of provider %q must not be negative", cfg.Name)
	}
	p := &Provider{cfg: cfg, known: map[string]capabilities{}, Provider: &wire.Provider{
		Peer: &wire.Server{
			Name: cfg.Name, BaseURL: cfg.BaseURL, APIKey: cfg.APIKey, KeyVariable: cfg.KeyVariable, Headers: cfg.Headers,
			MaxResponseBytes: cfg.MaxResponseBytes, Authorize: wire.Bearer,
		},
		AsksForList: !cfg.NoModelListing,
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

// list makes the models and embedders of the configuration.
func (p *Provider) list() error {
	for _, e := range p.cfg.Models {
		m, err := p.newModel(e.ID, e.Info)
		if err != nil {
			return err
		}
		p.Shelf.Put(m)
	}
	for _, id := range slices.Sorted(maps.Keys(p.cfg.Embedders)) {
		a, err := p.newEmbedder(id, p.cfg.Embedders[id])
		if err != nil {
			return err
		}
		p.Shelf.Put(a)
	}
	return nil
}

// make makes the action of an id that is not listed, with what the server said of it.
func (p *Provider) make(kind action.Kind, id string) (action.Action, error) {
	p.mu.Lock()
	known, ok := p.known[id]
	p.mu.Unlock()
	if kind == action.Embedder {
		return p.newEmbedder(id, known.dimensions)
	}
	supports := everything()
	if ok {
		supports = known.supports()
	}
	return p.newModel(id, model.Info{Supports: supports})
}

// everything lists all capabilities that this API can carry. A schema keeps a model from
// calling tools.
func everything() model.Supports {
	return model.Supports{Multiturn: true, Media: true, Tools: true, SystemRole: true, Output: []string{"text", "json"}, Constrained: "no-tools"}
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

// generate is one POST /api/chat.
func (p *Provider) generate(ctx context.Context, id string, supports model.Supports, req *model.Request, send model.Send) (*model.Response, error) {
	r, err := request(id, supports, req, send != nil)
	if err != nil {
		return nil, err
	}
	out := wire.Outgoing{Path: "/api/chat", Key: p.Peer.Key(ctx), Accept: wire.JSON, Body: r.body, Frames: wire.NewLines}
	if send != nil {
		out.Accept = lineType
	}
	a := &answer{reply: wire.Reply{Tools: r.tools, Reasons: finishReasons, Clean: func(s string) string { return p.Peer.Clean(s, out.Key, wire.MaxMessageText) }}}
	return p.Peer.Converse(ctx, out, p.cfg.MaxChunkBytes, a, send)
}

func (p *Provider) newEmbedder(id string, dimensions int) (action.Action, error) {
	config, err := schema.Infer[EmbedOptions]()
	if err != nil {
		return nil, err
	}
	info := embed.Info{Supports: &embed.Supports{Input: []string{"text"}}, ConfigSchema: config, Dimensions: dimensions}
	return wire.NewEmbedder(p.cfg.Name+"/"+id, info, func(ctx context.Context, texts []string, options json.RawMessage) ([][]float64, error) {
		return p.embed(ctx, id, texts, options)
	})
}
