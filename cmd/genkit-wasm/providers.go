package main

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/mcp"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/anthropic"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/bedrock"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/googleai"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/ollama"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/vertexai"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// provider is a provider of models whose accounts are the tenants.
type provider interface {
	registry.Provider
	BaseURL() string
	WithKey(key func(ctx context.Context) (string, error)) registry.Provider
	Close() error
}

// modelOffer is a provider of this server.
type modelOffer struct {
	provider
	// unset stands in for a provider that the server is not set up for; nil where it is.
	unset registry.Provider
	// yields is set when a --provider of its name goes before it.
	yields bool
}

// shown is what those see that have no key of their own.
func (o *modelOffer) shown() registry.Provider {
	if o.unset != nil {
		return o.unset
	}
	return o.provider
}

// openProviders makes the providers of models: those that are always there, and those of
// --provider.
func (b *backend) openProviders(more []string) error {
	b.models = nil
	chat, err := openai.New(openai.FromEnv())
	if err != nil {
		return err
	}
	b.offer(chat, os.Getenv("OPENAI_API_KEY") != "" || os.Getenv("OPENAI_BASE_URL") != "",
		"start the server with OPENAI_API_KEY, or with OPENAI_BASE_URL for another server than OpenAI's")
	claude, err := anthropic.New(anthropic.FromEnv())
	if err != nil {
		return err
	}
	b.offer(claude, inEnvironment(anthropic.Environment),
		"start the server with ANTHROPIC_API_KEY, or with ANTHROPIC_BASE_URL for another server than Anthropic's")
	gemini, err := googleai.New(googleai.FromEnv())
	if err != nil {
		return err
	}
	b.offer(gemini, inEnvironment(googleai.Environment), "start the server with GEMINI_API_KEY, or with GOOGLE_GEMINI_BASE_URL for another server than Google's")
	local, err := ollama.New(ollama.FromEnv())
	if err != nil {
		return err
	}
	b.offer(local, inEnvironment(ollama.Environment), "start the server with OLLAMA_HOST, such as "+ollama.DefaultBaseURL).yields = true
	vertex := vertexai.FromEnv()
	google, err := vertexai.New(vertex)
	if err != nil {
		return err
	}
	b.offer(google, vertex.Project != "" || vertex.APIKey != "" || vertex.BaseURL != "",
		"start the server with GOOGLE_CLOUD_PROJECT and credentials of Google, or with VERTEX_API_KEY").yields = true
	amazon, err := bedrock.New(bedrock.FromEnv())
	if err != nil {
		return err
	}
	b.offer(amazon, inEnvironment([]string{"AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"}),
		"start the server with AWS_REGION, and AWS_BEARER_TOKEN_BEDROCK or credentials of AWS").yields = true
	for _, spec := range more {
		if err := b.addProvider(spec); err != nil {
			return err
		}
	}
	return nil
}

// inEnvironment reports whether one of the variables is set.
func inEnvironment(variables []string) bool {
	return slices.ContainsFunc(variables, func(name string) bool { return os.Getenv(name) != "" })
}

func (b *backend) offer(p provider, isSet bool, hint string) *modelOffer {
	o := &modelOffer{provider: p}
	if !isSet {
		o.unset = openai.Unset(p.Name(), hint+", or give the tenant an API key of its own with \"genkit-wasm credential set "+p.Name()+"\"")
	}
	b.models = append(b.models, o)
	b.closers = append(b.closers, p.Close)
	return o
}

var providerName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

// addProvider adds the provider of a --provider: NAME=URL, or the NAME of a server that is
// known.
func (b *backend) addProvider(spec string) error {
	name, baseURL, given := strings.Cut(spec, "=")
	known, isKnown := openai.ServerNamed(name)
	if given {
		b.models = slices.DeleteFunc(b.models, func(o *modelOffer) bool { return o.yields && o.Name() == name })
	}
	taken := slices.ContainsFunc(b.models, func(o *modelOffer) bool { return o.Name() == name })
	switch {
	case !providerName.MatchString(name):
		return usagef("--provider %q: want NAME=URL with a name of lower case letters, digits, - and _ ", spec)
	case taken || name == "test" || name == mcp.DefaultName:
		return usagef("--provider %q: there is a provider of that name already", name)
	case !given && !isKnown:
		var names []string
		for _, s := range openai.Servers() {
			names = append(names, s.Name)
		}
		return usagef("--provider %q: want NAME=URL, or one of the servers that are known: %s", name, strings.Join(names, ", "))
	case given && baseURL == "":
		return usagef("--provider %q: the URL is missing", name)
	}
	variable := strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_API_KEY"
	cfg := openai.Config{Name: name, BaseURL: baseURL, HTTPClient: openai.FromEnv().HTTPClient}
	if isKnown {
		cfg.Profile = &known.Profile
		variable = known.KeyVariable
		if !given {
			cfg.BaseURL = known.BaseURL
		}
	}
	cfg.APIKey, cfg.KeyVariable = os.Getenv(variable), variable
	p, err := openai.New(cfg)
	if err != nil {
		return &failure{exit: exitUsage, text: "--provider " + name + ": " + err.Error(), cause: err}
	}
	// A server of one's own may want no key.
	b.offer(p, given || cfg.APIKey != "", "start the server with "+variable)
	return nil
}
