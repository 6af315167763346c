package bedrock

import "encoding/json"

// Options is the config of a request. Its JSON Schema is published with each model and
// checked before the server is asked.
type Options struct {
	Version         string          `json:"version,omitempty" jsonschema_description:"Model id, inference profile or ARN to ask for instead of the one in the model's name."`
	APIKey          string          `json:"apiKey,omitempty" jsonschema_description:"Key of Amazon Bedrock for this request instead of the provider's credentials; it is not recorded."`
	MaxOutputTokens int             `json:"maxOutputTokens,omitempty" jsonschema:"minimum=1" jsonschema_description:"Upper bound of the answer's tokens (inferenceConfig.maxTokens)."`
	Temperature     *float64        `json:"temperature,omitempty" jsonschema:"minimum=0,maximum=1" jsonschema_description:"How freely the next token is chosen."`
	TopP            *float64        `json:"topP,omitempty" jsonschema:"minimum=0,maximum=1" jsonschema_description:"Choose among the tokens that make up this share of the probability."`
	StopSequences   []string        `json:"stopSequences,omitempty" jsonschema_description:"Texts at which the answer ends."`
	ToolChoice      string          `json:"toolChoice,omitempty" jsonschema_description:"The one tool to call, in the place of the request's tool choice."`
	ModelFields     json.RawMessage `json:"additionalModelRequestFields,omitempty" jsonschema:"type=object" jsonschema_description:"Fields of the model's own, such as {\"top_k\": 5} or {\"thinking\": …} of Claude."`
	Extra           json.RawMessage `json:"extra,omitempty" jsonschema:"type=object" jsonschema_description:"Further fields of the request body, such as guardrailConfig, sent as they are; they replace all others of their name."`
}

// EmbedOptions are the options of an embed request.
type EmbedOptions struct {
	Version    string `json:"version,omitempty" jsonschema_description:"Model id to ask for instead of the one in the embedder's name."`
	APIKey     string `json:"apiKey,omitempty" jsonschema_description:"Key of Amazon Bedrock for this request instead of the provider's credentials; it is not recorded."`
	Dimensions int    `json:"dimensions,omitempty" jsonschema:"minimum=1" jsonschema_description:"How long the vectors are, with Titan V2 and Cohere V4."`
	Normalize  *bool  `json:"normalize,omitempty" jsonschema_description:"Whether Titan V2 makes the vectors of length 1."`
	InputType  string `json:"inputType,omitempty" jsonschema:"enum=search_document,enum=search_query,enum=classification,enum=clustering" jsonschema_description:"What Cohere's vectors are for; search_document where it is not given."`
	Truncate   string `json:"truncate,omitempty" jsonschema:"enum=NONE,enum=START,enum=END" jsonschema_description:"Which end of a text that is too long Cohere cuts."`
}
