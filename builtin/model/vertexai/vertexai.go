// Package vertexai brings the models of Google's Vertex AI: Gemini and its embedders, and
// Anthropic's Claude.
//
// It owns the addresses of Vertex AI and how a request there is authorized: by an access
// token of a service account, or by an API key. It reads no environment, file or global
// setting; [FromEnv] and [DefaultToken] are the helpers that do. Use:
//
//	p, err := vertexai.New(vertexai.Config{Project: "my-project", Location: "europe-west4", Token: vertexai.DefaultToken(nil)})
//	…
//	defer p.Close()
//	err = reg.AddProvider(p)
//	m, err := reg.Resolve(ctx, "vertexai/gemini-2.5-flash", action.Model)
package vertexai

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/claude"
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
	DefaultName             = "vertexai"
	DefaultLocation         = "global"
	DefaultMaxTokens        = 4096
	DefaultMaxResponseBytes = wire.DefaultMaxResponseBytes
	// DefaultMaxChunkBytes is larger than that of other providers: a picture comes in one
	// event.
	DefaultMaxChunkBytes = 24 << 20
)

// claudeVersion is the version of the Messages API that Vertex AI takes, in the body.
const claudeVersion = "vertex-2023-10-16"

// Token returns an access token and when it ends. It is asked before the one before ends, and
// not concurrently.
type Token func(ctx context.Context) (token string, until time.Time, err error)

// Config says which project is asked, where and how. It needs a Project, or an APIKey of
// express mode, which stands for one.
type Config struct {
	// Name is the provider's name and the first segment of its models' names; empty
	// means [DefaultName]. It holds no slash.
	Name string
	// Project is the id of the project that pays; empty with a key of express mode alone.
	Project string
	// Location is a region such as "us-central1", or "us", "eu" and "global"; empty means
	// [DefaultLocation].
	Location string
	// BaseURL is the URL to which "/v1beta1/projects/…" is added; empty means that of the
	// location. It holds no user, query or fragment.
	BaseURL string
	// APIKey is sent as x-goog-api-key; a request's config.apiKey goes before it, and both
	// before Token.
	APIKey string `json:"-"`
	// Token gives the access token of requests without a key; nil sends them without.
	Token Token `json:"-"`
	// KeyVariable names the environment variable of the key, for the error that a server
	// gives to a call without one; [FromEnv] sets it.
	KeyVariable string
	// HTTPClient makes the requests; nil means a client of the provider's own, without
	// proxy and without a time limit beyond the caller's context. Its redirect policy is
	// replaced: a redirect to another host is not followed.
	HTTPClient *http.Client `json:"-"`
	// Headers are added to every request. Their values are kept out of error messages.
	Headers http.Header `json:"-"`
	// Models are listed beside the catalogue, and say what each can do. An entry replaces
	// the catalogue's entry of its ID.
	Models []ModelConfig
	// MaxTokens is max_tokens of a request to Claude whose config says nothing; 0 means
	// [DefaultMaxTokens].
	MaxTokens int
	// MaxResponseBytes bounds one answer, streamed or not; 0 means
	// [DefaultMaxResponseBytes].
	MaxResponseBytes int64
	// MaxChunkBytes bounds one event of a stream; 0 means [DefaultMaxChunkBytes].
	MaxChunkBytes int
}

// ModelConfig describes the capabilities of one model.
type ModelConfig struct {
	// ID is the model's id, such as "gemini-2.5-flash", "claude-sonnet-4-5@20250929", a
	// tuned model's "endpoints/123", or "publishers/p/models/m".
	ID string
	// Info is published with the model. Its ConfigSchema is replaced by that of the API
	// that the model speaks when it is nil.
	Info model.Info
}

// String leaves the credentials out.
func (c Config) String() string {
	return fmt.Sprintf("vertexai.Config{Name: %q, Project: %q, Location: %q, BaseURL: %q}", c.Name, c.Project, c.Location, c.BaseURL)
}

// GoString leaves the credentials out.
func (c Config) GoString() string { return c.String() }

// LogValue leaves the credentials out.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Environment are the variables that [FromEnv] reads, but for those of Google's default
// credentials.
var Environment = []string{"GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION", "VERTEX_API_KEY", "GOOGLE_VERTEX_BASE_URL"}

// FromEnv returns a Config from [Environment], with Google's default credentials and a client
// that uses the proxy of HTTPS_PROXY and its kin. VERTEX_API_KEY counts only where no project
// is named. GOOGLE_API_KEY does not count: it is that of the Gemini API.
func FromEnv() Config {
	client := wire.FromEnvironment()
	c := Config{
		Project: cmp.Or(os.Getenv(Environment[0]), os.Getenv(Environment[1])), Location: cmp.Or(os.Getenv(Environment[2]), os.Getenv(Environment[3])),
		BaseURL: os.Getenv(Environment[5]), KeyVariable: "GOOGLE_APPLICATION_CREDENTIALS", HTTPClient: client,
	}
	if c.Project == "" {
		c.APIKey, c.KeyVariable = os.Getenv(Environment[4]), Environment[4]
		return c
	}
	c.Token = DefaultToken(client)
	return c
}

// Provider gives models of one project. It is safe for concurrent use.
type Provider struct {
	*wire.Provider
	cfg    Config // with the defaults
	tokens *tokens
	// The schemas of configs, made once.
	geminiConfig, claudeConfig func() (json.RawMessage, error)
}

var _ registry.Provider = (*Provider)(nil)

var (
	placeForm = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9.:-]*[a-z0-9])?$`)
	idForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]*(/[A-Za-z0-9][A-Za-z0-9._@-]*)*$`)
)

// New returns a provider; INVALID_ARGUMENT when cfg can't work. It asks the server
// nothing. Redirects are followed only when they keep method, scheme and host, so that
// neither a key nor a prompt reaches another server.
func New(cfg Config) (*Provider, error) {
	cfg.Name, cfg.Location = wire.Or(cfg.Name, DefaultName), wire.Or(cfg.Location, DefaultLocation)
	cfg.MaxChunkBytes, cfg.MaxTokens = wire.Or(cfg.MaxChunkBytes, DefaultMaxChunkBytes), wire.Or(cfg.MaxTokens, DefaultMaxTokens)
	cfg.Headers = cfg.Headers.Clone()
	switch {
	case cfg.MaxChunkBytes < 0 || cfg.MaxTokens < 0:
		return nil, status.Publicf(status.InvalidArgument, "the limits of provider %q must not be negative", cfg.Name)
	case cfg.Project != "" && !placeForm.MatchString(cfg.Project):
		return nil, status.Publicf(status.InvalidArgument, "%q is no id of a project", wire.Clip(cfg.Project, 64))
	case !placeForm.MatchString(cfg.Location) || strings.ContainsAny(cfg.Location, ".:"):
		return nil, status.Publicf(status.InvalidArgument, "%q is no location of Vertex AI", wire.Clip(cfg.Location, 64))
	}
	cfg.BaseURL = strings.TrimRight(wire.Or(cfg.BaseURL, baseURL(cfg.Project, cfg.Location)), "/")
	p := &Provider{cfg: cfg, tokens: newTokens(cfg.Token), Provider: &wire.Provider{
		Peer: &wire.Server{
			Name: cfg.Name, BaseURL: cfg.BaseURL, APIKey: cfg.APIKey, KeyVariable: cfg.KeyVariable, Headers: cfg.Headers,
			MaxResponseBytes: cfg.MaxResponseBytes, Authorize: func(h http.Header, key string) { h.Set("X-Goog-Api-Key", key) },
		},
	}}
	if err := p.Peer.Open(cfg.HTTPClient); err != nil {
		return nil, err
	}
	p.geminiConfig, p.claudeConfig = sync.OnceValues(schema.Infer[gemini.Options]), sync.OnceValues(schema.Infer[claude.Options])
	p.Shelf.Name, p.Shelf.Make = cfg.Name, p.make
	return p, p.list()
}

// baseURL is that of a location; without a project there is one for all.
func baseURL(project, location string) string {
	switch {
	case location == "global" || project == "":
		return "https://aiplatform.googleapis.com"
	case location == "us" || location == "eu":
		return "https://aiplatform." + location + ".rep.googleapis.com"
	}
	return "https://" + location + "-aiplatform.googleapis.com"
}

// String names the provider without its credentials.
func (p *Provider) String() string { return p.cfg.String() }

// list makes the models and embedders of the catalogues and of cfg.Models.
func (p *Provider) list() error {
	for _, e := range append(Catalogue(), p.cfg.Models...) {
		m, err := p.newModel(e.ID, e.Info)
		if err != nil {
			return err
		}
		p.Shelf.Put(m)
	}
	for _, e := range embedders {
		a, err := p.newEmbedder(e.id)
		if err != nil {
			return err
		}
		p.Shelf.Put(a)
	}
	return nil
}

// Catalogue returns the known models. The caller owns the slice.
func Catalogue() []ModelConfig {
	var entries []ModelConfig
	for _, m := range gemini.Models {
		if !strings.HasSuffix(m.ID, "-latest") { // a name of the Gemini API alone
			entries = append(entries, ModelConfig{m.ID, model.Info{Label: "Vertex AI " + m.Label, Supports: gemini.Supports(m.ID)}})
		}
	}
	for _, m := range claude.Models {
		entries = append(entries, ModelConfig{m.ID, model.Info{Label: "Vertex AI " + m.Label, Stage: m.Stage, Supports: claude.Supports()}})
	}
	return entries
}

// make makes the action of an id that is not listed.
func (p *Provider) make(kind action.Kind, id string) (action.Action, error) {
	switch {
	case kind == action.Embedder:
		return p.newEmbedder(id)
	case isClaude(id):
		return p.newModel(id, model.Info{Supports: claude.Supports()})
	}
	return p.newModel(id, model.Info{Supports: gemini.Supports(id)})
}

func isClaude(id string) bool {
	return strings.HasPrefix(id, "claude-") || strings.HasPrefix(id, "publishers/anthropic/")
}

func (p *Provider) newModel(id string, info model.Info) (model.Model, error) {
	if !idForm.MatchString(id) {
		return nil, status.Publicf(status.InvalidArgument, "%q is no id of a model of provider %q", wire.Clip(id, 64), p.cfg.Name)
	}
	generate, config := p.gemini, p.geminiConfig
	if isClaude(id) {
		generate, config = p.claude, p.claudeConfig
	}
	if info.ConfigSchema == nil {
		var err error
		if info.ConfigSchema, err = config(); err != nil {
			return nil, err
		}
	}
	supports := info.Supports
	return wire.NewModel(p.cfg.Name+"/"+id, info, func(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
		return generate(ctx, id, supports, req, send)
	})
}

// path is the path of a verb of a model of one version of the API.
func (p *Provider) path(version, id, verb string) (string, error) {
	if !idForm.MatchString(id) {
		return "", status.Publicf(status.InvalidArgument, "%q is no id of a model", wire.Clip(id, 64))
	}
	switch {
	case strings.Contains(id, "/"): // endpoints/123, publishers/p/models/m
	case isClaude(id):
		id = "publishers/anthropic/models/" + id
	default:
		id = "publishers/google/models/" + id
	}
	place := ""
	if p.cfg.Project != "" {
		place = "projects/" + p.cfg.Project + "/locations/" + p.cfg.Location + "/"
	}
	return "/" + version + "/" + place + id + ":" + verb, nil
}

// authorize gives a request its key, or an access token where it has none.
func (p *Provider) authorize(ctx context.Context, out *wire.Outgoing) error {
	if out.Key = p.Peer.Key(ctx); out.Key != "" || p.cfg.Token == nil {
		return nil
	}
	var err error
	if out.Key, err = p.tokens.get(ctx); err != nil {
		return err
	}
	out.Authorize = wire.Bearer
	return nil
}

// gemini is one generateContent, or more where the server ends an answer with CONTINUATION.
func (p *Provider) gemini(ctx context.Context, id string, supports model.Supports, req *model.Request, send model.Send) (*model.Response, error) {
	r, err := gemini.NewRequest(id, supports, req)
	if err != nil {
		return nil, err
	}
	verb, query, out := "generateContent", "", wire.Outgoing{Accept: wire.JSON, Body: r.Body}
	if send != nil {
		verb, query, out.Accept = "streamGenerateContent", "?alt=sse", wire.EventStream
	}
	if out.Path, err = p.path("v1beta1", r.ID, verb); err != nil {
		return nil, err
	}
	if err = p.authorize(ctx, &out); err != nil {
		return nil, err
	}
	out.Path += query
	return p.Peer.Converse(ctx, out, p.cfg.MaxChunkBytes, gemini.NewAnswer(r, p.clean(out.Key)), send)
}

// claude is one rawPredict.
func (p *Provider) claude(ctx context.Context, id string, supports model.Supports, req *model.Request, send model.Send) (*model.Response, error) {
	dialect := &claude.Dialect{Version: claude.Version2023, MaxTokens: p.cfg.MaxTokens, InBody: claudeVersion}
	r, err := dialect.Request(id, supports, req, send != nil)
	if err != nil {
		return nil, err
	}
	verb, out := "rawPredict", wire.Outgoing{Accept: wire.JSON, Body: r.Body}
	if send != nil {
		verb, out.Accept = "streamRawPredict", wire.EventStream
	}
	if len(r.Betas) > 0 {
		out.Header = http.Header{"Anthropic-Beta": {strings.Join(r.Betas, ",")}}
	}
	if out.Path, err = p.path("v1", r.ID, verb); err != nil {
		return nil, err
	}
	if err = p.authorize(ctx, &out); err != nil {
		return nil, err
	}
	return p.Peer.Converse(ctx, out, p.cfg.MaxChunkBytes, claude.NewAnswer(r, p.clean(out.Key)), send)
}

func (p *Provider) clean(key string) func(string) string {
	return func(text string) string { return p.Peer.Clean(text, key, wire.MaxMessageText) }
}
