package openai

import (
	_ "embed" // for the schema
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// configSchema describes [model.Request] Config. Only the keys that this package
// translates are in it; the API's own snake_case keys pass as they are.
//
//go:embed config.schema.json
var configSchema json.RawMessage

// wireNames maps the camelCase keys of Genkit to the API's. maxOutputTokens is
// missing: its name is configured.
var wireNames = map[string]string{
	"temperature": "temperature", "topP": "top_p", "stopSequences": "stop",
	"frequencyPenalty": "frequency_penalty", "presencePenalty": "presence_penalty",
	"reasoningEffort": "reasoning_effort", "verbosity": "verbosity", "seed": "seed",
	"logProbs": "logprobs", "topLogProbs": "top_logprobs", "logitBias": "logit_bias",
	"parallelToolCalls": "parallel_tool_calls", "user": "user",
	"serviceTier": "service_tier", "promptCacheKey": "prompt_cache_key",
}

// managed are the body fields that come from the rest of the request.
var managed = map[string]bool{
	"messages": true, "tools": true, "tool_choice": true, "functions": true, "function_call": true,
	"response_format": true, "n": true, "stream": true, "stream_options": true, "model": true,
	"models": true, "fallbacks": true, // of gateways: other models, beside the one that was named
}

// isManaged reports whether a server may read a key as one of the managed fields. Servers in Go
// read a field in any case, and the last one counts: "Model" would be another model.
func isManaged(key string) bool {
	for name := range managed {
		if strings.EqualFold(name, key) {
			return true
		}
	}
	return false
}

var wireKey = regexp.MustCompile(`^[a-z0-9_]+$`)

// settings are the values of a request's config.
type settings struct {
	version string
	fields  map[string]json.RawMessage // of the body
}

// settings reads a config that holds no API key and obeys the config
// schema. A null that the schema lets through counts as absent; everything else, 0
// and false included, is sent.
func (p *Provider) settings(raw json.RawMessage) (settings, error) {
	s := settings{fields: map[string]json.RawMessage{}}
	if wire.IsNull(raw) {
		return s, nil
	}
	var config, extra map[string]json.RawMessage
	if err := json.Unmarshal(raw, &config); err != nil {
		return s, status.Publicf(status.InvalidArgument, "model config: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(config)) {
		value := config[key]
		if wire.IsNull(value) {
			continue
		}
		switch key {
		case "version":
			if err := json.Unmarshal(value, &s.version); err != nil {
				return s, status.Publicf(status.InvalidArgument, "model config key %q: %w", key, err)
			}
			continue
		case "extra":
			if err := json.Unmarshal(value, &extra); err != nil {
				return s, status.Publicf(status.InvalidArgument, "model config key %q: %w", key, err)
			}
			continue
		}
		name, err := p.wireName(key)
		if err != nil {
			return s, err
		}
		if _, twice := s.fields[name]; twice {
			return s, status.Publicf(status.InvalidArgument, "model config sets %q twice, under two names", name)
		}
		s.fields[name] = value
	}
	for name, value := range extra {
		if isManaged(name) {
			return s, refuseManaged(name)
		}
		s.fields[name] = value
	}
	return s, nil
}

// wireName translates a key of the config. Camel case that is not known is
// refused: the server would ignore it, and a typing error would go unseen.
func (p *Provider) wireName(key string) (string, error) {
	if key == "maxOutputTokens" {
		return p.cfg.MaxTokensKey, nil
	}
	if name, ok := wireNames[key]; ok {
		return name, nil
	}
	switch {
	case isManaged(key):
		return "", refuseManaged(key)
	case key == "topK":
		return "", status.Publicf(status.InvalidArgument, `model config key "topK": the chat-completions API has no such parameter; a server that takes it anyway gets it as "top_k"`)
	case !wireKey.MatchString(key):
		return "", status.Publicf(status.InvalidArgument, `model config key %q is not known; the API's own parameters are written as %q, anything else goes into "extra"`, key, snake(key))
	}
	return key, nil
}

func refuseManaged(key string) error {
	return status.Publicf(status.InvalidArgument, "model config key %q: the engine fills this field in from the request", key)
}

func snake(key string) string {
	var b strings.Builder
	for i, r := range key {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
