package gemini

import "encoding/json"

// Options is the config of a request. Its JSON Schema is published with each model and
// checked before the server is asked. [Generation] stands beside its fields.
type Options struct {
	Version string `json:"version,omitempty" jsonschema_description:"Model id to ask for instead of the one in the model's name."`
	APIKey  string `json:"apiKey,omitempty" jsonschema_description:"Key for this request instead of the provider's; it is not recorded."`
	Generation
	SafetySettings        []SafetySetting   `json:"safetySettings,omitempty" jsonschema_description:"What is blocked."`
	FunctionCallingConfig *FunctionCalling  `json:"functionCallingConfig,omitempty" jsonschema_description:"Which tools to call, in the place of the request's tool choice."`
	CodeExecution         bool              `json:"codeExecution,omitempty" jsonschema_description:"Let the server run code that the model writes."`
	GoogleSearch          json.RawMessage   `json:"googleSearch,omitempty" jsonschema:"type=object" jsonschema_description:"Ground the answer on Google Search; {} takes the defaults."`
	URLContext            json.RawMessage   `json:"urlContext,omitempty" jsonschema:"type=object" jsonschema_description:"Let the server read the addresses in the prompt; {} takes the defaults."`
	FileSearch            json.RawMessage   `json:"fileSearch,omitempty" jsonschema:"type=object" jsonschema_description:"Search in file stores."`
	CachedContent         string            `json:"cachedContent,omitempty" jsonschema_description:"The name of cached content, such as cachedContents/x, that comes before the messages."`
	Labels                map[string]string `json:"labels,omitempty" jsonschema_description:"Labels for billing."`
	ServiceTier           string            `json:"serviceTier,omitempty" jsonschema_description:"The processing tier to use."`
	Extra                 json.RawMessage   `json:"extra,omitempty" jsonschema:"type=object" jsonschema_description:"Further fields of the request body, sent as they are; they replace all others of their name."`
}

// Generation are the fields that go into generationConfig as they are.
type Generation struct {
	Temperature        *float64        `json:"temperature,omitempty" jsonschema:"minimum=0,maximum=2" jsonschema_description:"How freely the next token is chosen."`
	TopP               *float64        `json:"topP,omitempty" jsonschema_description:"Choose among the tokens that make up this share of the probability."`
	TopK               *float64        `json:"topK,omitempty" jsonschema_description:"Choose among this many tokens."`
	MaxOutputTokens    int             `json:"maxOutputTokens,omitempty" jsonschema:"minimum=1" jsonschema_description:"Upper bound of the answer's tokens, thoughts included."`
	StopSequences      []string        `json:"stopSequences,omitempty" jsonschema_description:"Texts at which the answer ends; up to 5."`
	Seed               *int            `json:"seed,omitempty" jsonschema_description:"Ask for the same answer to the same request, as far as the server can."`
	PresencePenalty    *float64        `json:"presencePenalty,omitempty" jsonschema_description:"Makes tokens less likely once they have appeared."`
	FrequencyPenalty   *float64        `json:"frequencyPenalty,omitempty" jsonschema_description:"Makes tokens less likely the more often they have appeared."`
	ResponseLogprobs   bool            `json:"responseLogprobs,omitempty" jsonschema_description:"Report token probabilities in the raw response."`
	Logprobs           *int            `json:"logprobs,omitempty" jsonschema_description:"How many alternatives responseLogprobs reports for each token."`
	ResponseModalities []string        `json:"responseModalities,omitempty" jsonschema_description:"TEXT, IMAGE, AUDIO: what the answer may hold."`
	ThinkingConfig     *Thinking       `json:"thinkingConfig,omitempty" jsonschema_description:"Whether and how the model thinks before it answers."`
	SpeechConfig       json.RawMessage `json:"speechConfig,omitempty" jsonschema:"type=object" jsonschema_description:"The voices of a model that speaks."`
	ImageConfig        json.RawMessage `json:"imageConfig,omitempty" jsonschema:"type=object" jsonschema_description:"The form of pictures."`
	MediaResolution    string          `json:"mediaResolution,omitempty" jsonschema_description:"MEDIA_RESOLUTION_LOW, _MEDIUM or _HIGH."`
}

// Thinking is how a model thinks.
type Thinking struct {
	IncludeThoughts bool   `json:"includeThoughts,omitempty" jsonschema_description:"Whether thoughts are part of the answer."`
	ThinkingBudget  *int   `json:"thinkingBudget,omitempty" jsonschema_description:"How many tokens thoughts may take; 0 turns them off, -1 leaves it to the model."`
	ThinkingLevel   string `json:"thinkingLevel,omitempty" jsonschema:"enum=MINIMAL,enum=LOW,enum=MEDIUM,enum=HIGH" jsonschema_description:"How much to think."`
}

// SafetySetting is from which probability on a category is blocked.
type SafetySetting struct {
	Category  string `json:"category"`
	Threshold string `json:"threshold"`
}

// FunctionCalling says whether tools are called: by mode AUTO, ANY or NONE, and which.
type FunctionCalling struct {
	Mode                 string   `json:"mode,omitempty" jsonschema:"enum=AUTO,enum=ANY,enum=NONE,enum=VALIDATED"`
	AllowedFunctionNames []string `json:"allowedFunctionNames,omitempty" jsonschema_description:"The only tools that may be called."`
}
