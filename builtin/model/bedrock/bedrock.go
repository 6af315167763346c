// Package bedrock brings the models of Amazon Bedrock: all that Converse speaks to, and the
// embedders of Titan and Cohere.
//
// It owns the mapping between Genkit's model request and the API's JSON, the signature of
// requests, and the reading of streams of frames. It reads no environment, file or global
// setting; [FromEnv] and [DefaultCredentials] are the helpers that do. Use:
//
//	p, err := bedrock.New(bedrock.Config{Region: "eu-central-1", Credentials: bedrock.DefaultCredentials})
//	…
//	defer p.Close()
//	err = reg.AddProvider(p)
//	m, err := reg.Resolve(ctx, "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", action.Model)
package bedrock

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
	"time"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Defaults of [Config].
const (
	DefaultName             = "bedrock"
	DefaultRegion           = "us-east-1"
	DefaultMaxResponseBytes = wire.DefaultMaxResponseBytes
	DefaultMaxChunkBytes    = wire.DefaultMaxChunkBytes
)

// Config says which region is asked and how.
type Config struct {
	// Name is the provider's name and the first segment of its models' names; empty
	// means [DefaultName]. It holds no slash.
	Name string
	// Region is the region that is asked, and signed for; empty means [DefaultRegion].
	Region string
	// BaseURL is the URL to which "/model/…/converse" is added; empty means that of the
	// region. It holds no user, query or fragment.
	BaseURL string
	// APIKey is a key of Amazon Bedrock, which is sent as a bearer token; a request's
	// config.apiKey goes before it, and both before Credentials.
	APIKey string `json:"-"`
	// Credentials sign the requests without a key; nil sends them unsigned.
	Credentials Source `json:"-"`
	// KeyVariable names the environment variable of the key, for the error that a server
	// gives to a call without one; [FromEnv] sets it.
	KeyVariable string
	// HTTPClient makes the requests; nil means a client of the provider's own, without
	// proxy and without a time limit beyond the caller's context. Its redirect policy is
	// replaced: a redirect to another host is not followed.
	HTTPClient *http.Client `json:"-"`
	// Headers are added to every request, and not signed. Their values are kept out of error
	// messages.
	Headers http.Header `json:"-"`
	// Models are listed, and say what each can do.
	Models []ModelConfig
	// MaxResponseBytes bounds one answer, streamed or not; 0 means
	// [DefaultMaxResponseBytes].
	MaxResponseBytes int64
	// MaxChunkBytes bounds one frame of a stream; 0 means [DefaultMaxChunkBytes].
	MaxChunkBytes int
}

// ModelConfig describes the capabilities of one model.
type ModelConfig struct {
	// ID is the model's id, that of an inference profile, or an ARN.
	ID string
	// Info is published with the model. Its ConfigSchema is replaced by that of this
	// package when it is nil.
	Info model.Info
}

// String leaves the credentials out.
func (c Config) String() string {
	return fmt.Sprintf("bedrock.Config{Name: %q, Region: %q, BaseURL: %q}", c.Name, c.Region, c.BaseURL)
}

// GoString leaves the credentials out.
func (c Config) GoString() string { return c.String() }

// LogValue leaves the credentials out.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Environment are the variables that [FromEnv] and [DefaultCredentials] read.
var Environment = []string{
	"AWS_BEARER_TOKEN_BEDROCK", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
	"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE",
}

// FromEnv returns a Config from [Environment], with a client that uses the proxy of
// HTTPS_PROXY and its kin.
func FromEnv() Config {
	return Config{
		APIKey: os.Getenv(Environment[0]), KeyVariable: Environment[0], Region: cmp.Or(os.Getenv(Environment[1]), os.Getenv(Environment[2])),
		BaseURL: os.Getenv(Environment[3]), Credentials: DefaultCredentials, HTTPClient: wire.FromEnvironment(),
	}
}

// Provider gives models of one region. It is safe for concurrent use.
type Provider struct {
	*wire.Provider
	cfg Config // with the defaults
}

var _ registry.Provider = (*Provider)(nil)

var (
	regionForm = regexp.MustCompile(`^[a-z]{2,}(-[a-z0-9]+)+$`)
	idForm     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]*$`)
)

// New returns a provider; INVALID_ARGUMENT when cfg can't work. It asks the server
// nothing. Redirects are followed only when they keep method, scheme and host, so that
// neither a key nor a prompt reaches another server.
func New(cfg Config) (*Provider, error) {
	cfg.Name, cfg.Region = wire.Or(cfg.Name, DefaultName), wire.Or(cfg.Region, DefaultRegion)
	cfg.BaseURL = strings.TrimRight(wire.Or(cfg.BaseURL, "https://bedrock-runtime."+cfg.Region+".amazonaws.com"), "/")
	cfg.MaxChunkBytes = wire.Or(cfg.MaxChunkBytes, DefaultMaxChunkBytes)
	cfg.Headers = cfg.Headers.Clone()
	switch {
	case cfg.MaxChunkBytes < 0:
		return nil, status.Publicf(status.InvalidArgument, "the limits of provider %q must not be negative", cfg.Name)
	case !regionForm.MatchString(cfg.Region):
		return nil, status.Publicf(status.InvalidArgument, "%q is no region of AWS", wire.Clip(cfg.Region, 64))
	}
	p := &Provider{cfg: cfg, Provider: &wire.Provider{
		Peer: &wire.Server{
			Name: cfg.Name, BaseURL: cfg.BaseURL, APIKey: cfg.APIKey, KeyVariable: cfg.KeyVariable, Headers: cfg.Headers,
			MaxResponseBytes: cfg.MaxResponseBytes, Authorize: wire.Bearer,
		},
	}}
	if err := p.Peer.Open(cfg.HTTPClient); err != nil {
		return nil, err
	}
	p.Shelf.Name, p.Shelf.Make = cfg.Name, p.make
	return p, p.list()
}

// String names the provider without its credentials.
func (p *Provider) String() string { return p.cfg.String() }

// list makes the models and embedders of the catalogue and of cfg.Models.
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

// make makes the action of an id that is not listed.
func (p *Provider) make(kind action.Kind, id string) (action.Action, error) {
	if kind == action.Embedder {
		return p.newEmbedder(id)
	}
	return p.newModel(id, model.Info{Supports: everything()})
}

// everything lists all capabilities that this API can carry. A schema stands in the prompt.
func everything() model.Supports {
	return model.Supports{Multiturn: true, Media: true, Tools: true, SystemRole: true, ToolChoice: true, Output: []string{"text", "json"}}
}

// catalogue is data that ages: an id that is missing still resolves, and most are asked by
// the id of an inference profile.
var catalogue = []struct{ id, label string }{
	{"anthropic.claude-opus-4-5-20251101-v1:0", "Claude Opus 4.5"},
	{"anthropic.claude-sonnet-4-5-20250929-v1:0", "Claude Sonnet 4.5"},
	{"anthropic.claude-haiku-4-5-20251001-v1:0", "Claude Haiku 4.5"},
	{"amazon.nova-premier-v1:0", "Nova Premier"},
	{"amazon.nova-pro-v1:0", "Nova Pro"},
	{"amazon.nova-lite-v1:0", "Nova Lite"},
	{"amazon.nova-micro-v1:0", "Nova Micro"},
	{"cohere.command-r-plus-v1:0", "Command R+"},
	{"mistral.mistral-large-2407-v1:0", "Mistral Large"},
	{"mistral.pixtral-large-2502-v1:0", "Pixtral Large"},
	{"meta.llama4-maverick-17b-instruct-v1:0", "Llama 4 Maverick"},
	{"meta.llama3-3-70b-instruct-v1:0", "Llama 3.3 70B"},
	{"deepseek.r1-v1:0", "DeepSeek R1"},
}

// Catalogue returns the known models. The caller owns the slice.
func Catalogue() []ModelConfig {
	entries := make([]ModelConfig, 0, len(catalogue))
	for _, row := range catalogue {
		entries = append(entries, ModelConfig{row.id, model.Info{Label: "Amazon Bedrock " + row.label, Supports: everything()}})
	}
	return entries
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

// outgoing is a request for a verb of a model, signed or with a key.
func (p *Provider) outgoing(ctx context.Context, id, verb string, body []byte) (wire.Outgoing, error) {
	out := wire.Outgoing{Key: p.Peer.Key(ctx), Accept: wire.JSON, Body: body}
	if !idForm.MatchString(id) {
		return out, status.Publicf(status.InvalidArgument, "%q is no id of a model", wire.Clip(id, 64))
	}
	out.Path = "/model/" + escape(id, "") + "/" + verb
	if out.Key != "" || p.cfg.Credentials == nil {
		return out, nil
	}
	credentials, err := p.cfg.Credentials(ctx)
	if err == nil && (wire.CheckKey(credentials.AccessKeyID) != nil || wire.CheckKey(credentials.SessionToken) != nil) {
		err = status.Publicf(status.Unauthenticated, "the credentials of AWS hold characters that a header can't carry")
	}
	if err != nil {
		return out, err
	}
	out.Key = wire.Or(credentials.SessionToken, credentials.AccessKeyID) // not to be shown, where the server repeats it
	out.Sign = func(req *http.Request) { sign(req, body, credentials, p.cfg.Region, time.Now()) }
	return out, nil
}

// generate is one Converse, or ConverseStream.
func (p *Provider) generate(ctx context.Context, id string, supports model.Supports, req *model.Request, send model.Send) (*model.Response, error) {
	r, err := request(id, supports, req)
	if err != nil {
		return nil, err
	}
	verb := "converse"
	if send != nil {
		verb = "converse-stream"
	}
	out, err := p.outgoing(ctx, r.id, verb, r.body)
	if err != nil {
		return nil, err
	}
	if out.Frames = newFrames; send != nil {
		out.Accept = eventStream
	}
	a := &answer{reply: wire.Reply{Tools: r.tools, Reasons: finishReasons, Clean: func(s string) string { return p.Peer.Clean(s, out.Key, wire.MaxMessageText) }}}
	return p.Peer.Converse(ctx, out, p.cfg.MaxChunkBytes, a, send)
}

// embedders are those of the catalogue, with the length of their vectors.
var embedders = []struct {
	id         string
	dimensions int
}{
	{"amazon.titan-embed-text-v1", 1536},
	{"amazon.titan-embed-text-v2:0", 1024},
	{"cohere.embed-english-v3", 1024},
	{"cohere.embed-multilingual-v3", 1024},
	{"cohere.embed-v4:0", 1536},
}

// maxTexts is how many texts Cohere takes in one request.
const maxTexts = 96

func (p *Provider) newEmbedder(id string) (action.Action, error) {
	if !idForm.MatchString(id) || (!strings.Contains(id, "titan-embed") && !isCohere(id)) {
		return nil, status.Publicf(status.NotFound, "embedder %q not found: those of Titan and Cohere are known", p.cfg.Name+"/"+wire.Clip(id, 64))
	}
	config, err := schema.Infer[EmbedOptions]()
	if err != nil {
		return nil, err
	}
	info := embed.Info{Supports: &embed.Supports{Input: []string{"text"}}, ConfigSchema: config, BatchSize: maxTexts}
	for _, e := range embedders {
		if e.id == id {
			info.Dimensions = e.dimensions
		}
	}
	return wire.NewEmbedder(p.cfg.Name+"/"+id, info, func(ctx context.Context, texts []string, options json.RawMessage) ([][]float64, error) {
		conf, err := wire.Decode[EmbedOptions](options, "embed options")
		if err != nil {
			return nil, err
		}
		if id := wire.Or(conf.Version, id); isCohere(id) {
			return p.cohere(ctx, id, texts, conf)
		}
		return p.titan(ctx, wire.Or(conf.Version, id), texts, conf)
	})
}

func isCohere(id string) bool { return strings.Contains(id, "cohere.embed") }

// invoke is one InvokeModel.
func (p *Provider) invoke(ctx context.Context, id string, body, answer any) error {
	raw, err := rawjson.Encode(body)
	if err != nil {
		return status.Publicf(status.InvalidArgument, "encode the request: %w", err)
	}
	out, err := p.outgoing(ctx, id, "invoke", raw)
	if err != nil {
		return err
	}
	if raw, err = p.Peer.Fetch(ctx, out); err != nil {
		return err
	}
	return p.Peer.Read(raw, answer, "InvokeModel", out.Key)
}

// titan asks for one text after the other, because the model takes no more.
func (p *Provider) titan(ctx context.Context, id string, texts []string, conf *EmbedOptions) ([][]float64, error) {
	vectors := make([][]float64, len(texts))
	for i, text := range texts {
		var answer struct {
			Embedding []float64 `json:"embedding"`
		}
		if err := p.invoke(ctx, id, struct {
			InputText  string `json:"inputText"`
			Dimensions int    `json:"dimensions,omitempty"`
			Normalize  *bool  `json:"normalize,omitempty"`
		}{text, conf.Dimensions, conf.Normalize}, &answer); err != nil {
			return nil, err
		}
		vectors[i] = answer.Embedding
	}
	return vectors, nil
}

func (p *Provider) cohere(ctx context.Context, id string, texts []string, conf *EmbedOptions) ([][]float64, error) {
	var answer struct {
		Embeddings struct {
			Float [][]float64 `json:"float"`
		} `json:"embeddings"`
	}
	err := p.invoke(ctx, id, struct {
		Texts      []string `json:"texts"`
		InputType  string   `json:"input_type"`
		Truncate   string   `json:"truncate"`
		Types      []string `json:"embedding_types"`
		Dimensions int      `json:"output_dimension,omitempty"`
	}{texts, wire.Or(conf.InputType, "search_document"), wire.Or(conf.Truncate, "END"), []string{"float"}, conf.Dimensions}, &answer)
	return answer.Embeddings.Float, err
}
