package ollama

import "encoding/json"

// Options is the config of a request. Its JSON Schema is published with each model and
// checked before the server is asked.
type Options struct {
	Version         string          `json:"version,omitempty" jsonschema_description:"Model id to ask for instead of the one in the model's name."`
	APIKey          string          `json:"apiKey,omitempty" jsonschema_description:"Key for this request instead of the provider's; it is not recorded."`
	MaxOutputTokens int             `json:"maxOutputTokens,omitempty" jsonschema:"minimum=1" jsonschema_description:"Upper bound of the answer's tokens (options.num_predict)."`
	Temperature     *float64        `json:"temperature,omitempty" jsonschema:"minimum=0" jsonschema_description:"How freely the next token is chosen."`
	TopK            *int            `json:"topK,omitempty" jsonschema_description:"Choose among this many tokens (options.top_k)."`
	TopP            *float64        `json:"topP,omitempty" jsonschema_description:"Choose among the tokens that make up this share of the probability (options.top_p)."`
	MinP            *float64        `json:"minP,omitempty" jsonschema_description:"Choose among the tokens of at least this share of the best one's probability (options.min_p)."`
	Seed            *int            `json:"seed,omitempty" jsonschema_description:"The same seed and request give the same answer."`
	StopSequences   []string        `json:"stopSequences,omitempty" jsonschema_description:"Texts at which the answer ends (options.stop)."`
	NumCtx          int             `json:"numCtx,omitempty" jsonschema:"minimum=1" jsonschema_description:"How many tokens the context holds (options.num_ctx); a longer prompt is cut."`
	Think           json.RawMessage `json:"think,omitempty" jsonschema:"oneof_type=boolean;string" jsonschema_description:"Whether the model thinks before it answers, or how much: low, medium, high."`
	KeepAlive       json.RawMessage `json:"keepAlive,omitempty" jsonschema:"oneof_type=string;number" jsonschema_description:"How long the model stays loaded, such as 5m; seconds as a number (keep_alive)."`
	Options         json.RawMessage `json:"options,omitempty" jsonschema:"type=object" jsonschema_description:"Further runtime options by their own names, such as num_gpu; they replace those above."`
	Extra           json.RawMessage `json:"extra,omitempty" jsonschema:"type=object" jsonschema_description:"Further fields of the request body, sent as they are; they replace all others of their name."`
}

// EmbedOptions are the options of an embed request.
type EmbedOptions struct {
	Version    string          `json:"version,omitempty" jsonschema_description:"Model id to ask for instead of the one in the embedder's name."`
	APIKey     string          `json:"apiKey,omitempty" jsonschema_description:"Key for this request instead of the provider's; it is not recorded."`
	Dimensions int             `json:"dimensions,omitempty" jsonschema:"minimum=1" jsonschema_description:"How long the vectors are, where the model can tell."`
	Truncate   *bool           `json:"truncate,omitempty" jsonschema_description:"Whether a text that is too long is cut instead of refused."`
	KeepAlive  json.RawMessage `json:"keepAlive,omitempty" jsonschema:"oneof_type=string;number" jsonschema_description:"How long the model stays loaded, such as 5m (keep_alive)."`
	Options    json.RawMessage `json:"options,omitempty" jsonschema:"type=object" jsonschema_description:"Runtime options by their own names, such as num_ctx."`
}

// wireOptions are the API's runtime options.
type wireOptions struct {
	NumPredict  int      `json:"num_predict,omitempty"`
	Temperature *float64 `json:"temperature,omitempty"`
	TopK        *int     `json:"top_k,omitempty"`
	TopP        *float64 `json:"top_p,omitempty"`
	MinP        *float64 `json:"min_p,omitempty"`
	Seed        *int     `json:"seed,omitempty"`
	Stop        []string `json:"stop,omitempty"`
	NumCtx      int      `json:"num_ctx,omitempty"`
}
