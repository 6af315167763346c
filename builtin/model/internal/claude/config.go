package claude

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Options is the config of a request. Its JSON Schema is published with each model and
// checked before the server is asked.
type Options struct {
	Version         string          `json:"version,omitempty" jsonschema_description:"Model id to ask for instead of the one in the model's name."`
	APIKey          string          `json:"apiKey,omitempty" jsonschema_description:"Key for this request instead of the provider's; it is not recorded."`
	MaxOutputTokens int             `json:"maxOutputTokens,omitempty" jsonschema:"minimum=1" jsonschema_description:"Upper bound of the answer's tokens, thinking included (max_tokens)."`
	Temperature     *float64        `json:"temperature,omitempty" jsonschema:"minimum=0,maximum=1" jsonschema_description:"How freely the next token is chosen; API version 2023-06-01 only."`
	TopP            *float64        `json:"topP,omitempty" jsonschema_description:"Choose among the tokens that make up this share of the probability (top_p); API version 2023-06-01 only."`
	TopK            *int            `json:"topK,omitempty" jsonschema_description:"Choose among this many tokens (top_k); API version 2023-06-01 only."`
	StopSequences   []string        `json:"stopSequences,omitempty" jsonschema_description:"Texts at which the answer ends (stop_sequences)."`
	Thinking        *Thinking       `json:"thinking,omitempty" jsonschema_description:"Whether and how the model thinks before it answers."`
	Effort          string          `json:"effort,omitempty" jsonschema:"enum=low,enum=medium,enum=high,enum=xhigh,enum=max" jsonschema_description:"How much work goes into the answer (output_config.effort)."`
	ToolChoice      *ToolChoice     `json:"tool_choice,omitempty" jsonschema_description:"Which tool to call, in the place of the request's tool choice."`
	OneToolAtATime  bool            `json:"disableParallelToolUse,omitempty" jsonschema_description:"Whether one answer may call one tool at most (disable_parallel_tool_use)."`
	Metadata        *UserMetadata   `json:"metadata,omitempty" jsonschema_description:"Who asks."`
	CacheControl    *CacheControl   `json:"cacheControl,omitempty" jsonschema_description:"Cache the prompt up to its last block (cache_control)."`
	ServiceTier     string          `json:"serviceTier,omitempty" jsonschema:"enum=auto,enum=standard_only" jsonschema_description:"The processing tier to use (service_tier)."`
	Betas           []string        `json:"betas,omitempty" jsonschema_description:"Beta features (the header anthropic-beta)."`
	Extra           json.RawMessage `json:"extra,omitempty" jsonschema:"type=object" jsonschema_description:"Further fields of the request body, sent as they are; they replace all others of their name."`
}

// Thinking is how a model thinks: with a budget (enabled), as it sees fit (adaptive), or
// not at all.
type Thinking struct {
	Enabled      *bool  `json:"enabled,omitempty" jsonschema_description:"Whether to think within budgetTokens."`
	BudgetTokens int    `json:"budgetTokens,omitempty" jsonschema:"minimum=1024" jsonschema_description:"How many tokens the thinking may take; less than maxOutputTokens."`
	Adaptive     bool   `json:"adaptive,omitempty" jsonschema_description:"Whether the model decides how much to think."`
	BetweenTools bool   `json:"betweenTools,omitempty" jsonschema_description:"Whether to think between tool calls only."`
	Display      string `json:"display,omitempty" jsonschema:"enum=summarized,enum=omitted" jsonschema_description:"How the thinking is shown."`
}

// ToolChoice names what to call: type is auto, any, none, or tool with a name.
type ToolChoice struct {
	Type string `json:"type" jsonschema:"enum=auto,enum=any,enum=none,enum=tool"`
	Name string `json:"name,omitempty" jsonschema_description:"The tool's name, where type is tool."`
}

// UserMetadata says who asks.
type UserMetadata struct {
	UserID string `json:"user_id,omitempty" jsonschema_description:"An opaque name of the end user."`
}

// CacheControl marks the end of a prefix that the server caches, for "5m" or "1h".
type CacheControl struct {
	Type string `json:"type,omitempty" jsonschema:"enum=ephemeral"`
	TTL  string `json:"ttl,omitempty" jsonschema:"enum=5m,enum=1h"`
}

// wireThinking is the API's form.
type wireThinking struct {
	Type         string `json:"type"`
	BudgetTokens int    `json:"budget_tokens,omitempty"`
	Display      string `json:"display,omitempty"`
}

func (t *Thinking) wire() (*wireThinking, error) {
	switch {
	case t == nil:
		return nil, nil
	case t.Adaptive:
		return &wireThinking{Type: "adaptive", Display: t.Display}, nil
	case t.BetweenTools:
		return &wireThinking{Type: "between_tools"}, nil
	case (t.Enabled == nil || *t.Enabled) && t.BudgetTokens > 0:
		return &wireThinking{Type: "enabled", BudgetTokens: t.BudgetTokens, Display: t.Display}, nil
	case t.Enabled != nil && *t.Enabled:
		return nil, status.Publicf(status.InvalidArgument, `model config key "thinking": give "budgetTokens", or "adaptive": true`)
	}
	return &wireThinking{Type: "disabled"}, nil
}

func (c *CacheControl) wire() *CacheControl {
	if c == nil {
		return nil
	}
	return &CacheControl{Type: "ephemeral", TTL: c.TTL}
}
