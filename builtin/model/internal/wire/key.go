package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// keyedModel keeps a request's API key away from the model's action, which traces
// its input: the key travels in the context from here to [Server.Key].
type keyedModel struct {
	model.Model
	account accountKey
}

var _ model.Model = (*keyedModel)(nil)

type keyContext struct{}

// requestKey is a pointer's worth of secret, so that printing a context shows an
// address.
type requestKey struct {
	key     *string
	account bool // it is an account's, and not the request's
}

// KeyedModel takes the API key out of the config of the requests of m.
func KeyedModel(m model.Model) model.Model { return &keyedModel{Model: m} }

// KeyedEmbedder takes the API key out of the options of the requests of an embedder.
func KeyedEmbedder(a action.Action) action.Action { return &keyedEmbedder{Action: a} }

// Key is the request's own API key or its account's, else the provider's.
func (s *Server) Key(ctx context.Context) string { return Or(OwnKey(ctx), s.APIKey) }

// OwnKey is the request's own API key or its account's; "" where it has none.
func OwnKey(ctx context.Context) string {
	if own, _ := ctx.Value(keyContext{}).(requestKey); own.key != nil {
		return *own.key
	}
	return ""
}

// Generate asks the model.
func (m *keyedModel) Generate(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
	clean, key, err := takeKey(req)
	if err != nil {
		return nil, err
	}
	if ctx, err = m.account.with(ctx, key); err != nil {
		return nil, err
	}
	return m.Model.Generate(ctx, clean, send)
}

// RunJSON asks the model.
func (m *keyedModel) RunJSON(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	if !mayHoldKey(in) || schema.Check(in) != nil { // refuse invalid JSON before it is traced
		ctx, err := m.account.with(ctx, "")
		if err != nil {
			return nil, err
		}
		return m.Model.RunJSON(ctx, in, emit)
	}
	req := &model.Request{}
	if err := json.Unmarshal(in, req); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "model request: %w", err)
	}
	clean, key, err := takeKey(req)
	if err != nil {
		return nil, err
	}
	if in, err = rawjson.Encode(clean); err != nil {
		return nil, status.Errorf(status.Internal, "encode the model request: %w", err)
	}
	if ctx, err = m.account.with(ctx, key); err != nil {
		return nil, err
	}
	return m.Model.RunJSON(ctx, in, emit)
}

// mayHoldKey spares most requests the decoding. An escape could hide the name.
func mayHoldKey(in json.RawMessage) bool {
	lower := bytes.ToLower(in)
	for _, sign := range []string{"apikey", "api_key", "api-key", `\u00`} {
		if bytes.Contains(lower, []byte(sign)) {
			return true
		}
	}
	return false
}

// withKey also hides the key of an outer call from an inner one.
func withKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyContext{}, requestKey{key: &key})
}

// keyedEmbedder keeps a request's API key away from the embedder's action, which traces
// its input; see [keyedModel].
type keyedEmbedder struct {
	action.Action
	account accountKey
}

// RunJSON embeds.
func (e *keyedEmbedder) RunJSON(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	if !mayHoldKey(in) {
		ctx, err := e.account.with(ctx, "")
		if err != nil {
			return nil, err
		}
		return e.Action.RunJSON(ctx, in, emit)
	}
	req := &embed.Request{}
	if err := json.Unmarshal(in, req); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "embed request: %w", err)
	}
	options, key, err := takeKeyOf(req.Options)
	if err != nil {
		return nil, err
	}
	req.Options = options
	if in, err = rawjson.Encode(req); err != nil {
		return nil, status.Errorf(status.Internal, "encode the embed request: %w", err)
	}
	if ctx, err = e.account.with(ctx, key); err != nil {
		return nil, err
	}
	return e.Action.RunJSON(ctx, in, emit)
}

// takeKey returns req without the API key of its config, and the key. req itself
// is not changed; it is returned as it is when it holds none.
func takeKey(req *model.Request) (*model.Request, string, error) {
	for name := range req.Extra {
		if strings.EqualFold(name, "config") {
			return nil, "", status.Publicf(status.InvalidArgument, `model request field %q: write it as "config"`, name)
		}
	}
	config, key, err := takeKeyOf(req.Config)
	if err != nil || key == "" && len(config) == len(req.Config) {
		return req, key, err
	}
	clean := *req
	clean.Messages = slices.Clone(req.Messages) // it may be handed back with the response
	clean.Config = config
	return &clean, key, nil
}

// takeKeyOf returns a config without its API key, and the key. A config that is no
// object is returned as it is; the code that reads it reports the error.
func takeKeyOf(raw json.RawMessage) (json.RawMessage, string, error) {
	var config map[string]json.RawMessage
	if json.Unmarshal(raw, &config) != nil {
		return raw, "", nil
	}
	var extra map[string]json.RawMessage
	if json.Unmarshal(config["extra"], &extra) == nil {
		for name := range extra {
			if isKeyName(name) {
				return nil, "", errMisplacedKey(name)
			}
		}
	}
	found, key := false, ""
	for name, value := range config {
		if !isKeyName(name) {
			continue
		}
		if name != "apiKey" {
			return nil, "", errMisplacedKey(name)
		}
		found = true
		if json.Unmarshal(value, &key) != nil {
			return nil, "", status.Publicf(status.InvalidArgument, `model config key "apiKey" must be a string`)
		}
	}
	if !found {
		return raw, "", nil
	}
	if err := CheckKey(key); err != nil {
		return nil, "", err
	}
	delete(config, "apiKey")
	clean, err := rawjson.Encode(config)
	if err != nil {
		return nil, "", status.Errorf(status.Internal, "encode the config: %w", err)
	}
	return clean, key, nil
}

// isKeyName tells apiKey from its misspellings, which would be recorded and sent
// to the server like any parameter.
func isKeyName(name string) bool {
	return strings.EqualFold(strings.NewReplacer("_", "", "-", "").Replace(name), "apikey")
}

func errMisplacedKey(name string) error {
	return status.Publicf(status.InvalidArgument, `model config key %q: write an API key as "apiKey", at the top of the config`, name)
}

// CheckKey refuses a key that can't be a header's value, without quoting it.
func CheckKey(key string) error {
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return status.Publicf(status.InvalidArgument, "the API key holds characters that a header can't carry")
	}
	return nil
}
