package model

import (
	"encoding/json"
	"maps"

	"github.com/genkit-wasm/genkit-wasm/engine/internal/secretjson"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Configs may hold credentials (config.apiKey and other names of secrets). They are
// sent to the model that they are meant for and nowhere else: code that records,
// returns, caches or shows a request removes them with the functions below. Spans and
// the wire form of a [Response] do so themselves.

// SplitConfig returns config without its secrets, and the secrets for [JoinConfig]. Names
// decide: apiKey, authorization, token, and those that end with apiKey, password,
// secret, credentials and the like, at any depth, also where name and value are a pair. An array that holds a secret counts as
// one. shown is config itself when there are none and nil when nothing else is left.
func SplitConfig(config json.RawMessage) (shown, secrets json.RawMessage) {
	return secretjson.Split(config)
}

// JoinConfig puts secrets back to their places; secrets that config holds itself are
// dropped. INVALID_ARGUMENT when config can't hold them.
func JoinConfig(config, secrets json.RawMessage) (json.RawMessage, error) {
	joined, err := secretjson.Merge(config, secrets)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "config: %w", err)
	}
	return joined, nil
}

// HideSecrets returns a request, options, or a response that holds its request, without
// the secrets of their configs; body itself when there are none.
func HideSecrets(body json.RawMessage) json.RawMessage { return secretjson.Hide(body) }

// WithoutSecrets returns r with a config that holds none; r itself when it has none.
func (r *Request) WithoutSecrets() *Request {
	if r == nil {
		return nil
	}
	shown, secrets := SplitConfig(r.Config)
	extra := shownExtra(r.Extra)
	if secrets == nil && extra == nil {
		return r
	}
	c := *r
	c.Config = shown
	if extra != nil {
		c.Extra = extra
	}
	return &c
}

// WithoutSecrets returns o without the secrets of its config and of the configs of the
// middleware it uses; o itself when there are none.
func (o *GenerateOptions) WithoutSecrets() *GenerateOptions {
	if o == nil {
		return nil
	}
	shown, secrets := SplitConfig(o.Config)
	use, extra := shownUse(o.Use), shownExtra(o.Extra)
	if secrets == nil && use == nil && extra == nil {
		return o
	}
	c := *o
	c.Config = shown
	if extra != nil {
		c.Extra = extra
	}
	if use != nil {
		c.Use = use
	}
	return &c
}

// shownUse returns a copy of refs without secrets, nil when there are none.
func shownUse(refs []MiddlewareRef) []MiddlewareRef {
	var out []MiddlewareRef
	for i := range refs {
		shown, secrets := SplitConfig(refs[i].Config)
		extra := shownExtra(refs[i].Extra)
		if secrets == nil && extra == nil {
			continue
		}
		if out == nil {
			out = append(out, refs...)
		}
		out[i].Config = shown
		if extra != nil {
			out[i].Extra = extra
		}
	}
	return out
}

// shownExtra returns a copy of fields that no type knows without the secrets of those that
// are a config by another spelling, such as Config; nil when there are none.
func shownExtra(extra map[string]json.RawMessage) (out map[string]json.RawMessage) {
	for name, value := range extra {
		shown, hidden := secretjson.HideField(name, value)
		if !hidden {
			continue
		}
		if out == nil {
			out = maps.Clone(extra)
		}
		if out[name] = shown; shown == nil {
			delete(out, name)
		}
	}
	return out
}
