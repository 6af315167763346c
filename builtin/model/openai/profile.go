package openai

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
)

// Profile lists the differences of a server of the chat-completions family from
// OpenAI's. It is data: [ProfileFor] chooses one by the base URL, and [Config.Profile]
// replaces it. The zero value suits a server of which nothing is known.
type Profile struct {
	// Name is for people, such as "groq".
	Name string
	// SystemRole is the role of system messages; empty means "system".
	SystemRole string
	// MaxTokensKey is the body field for maxOutputTokens; empty means
	// [DefaultMaxTokensKey]. [Config.MaxTokensKey] goes before it.
	MaxTokensKey string
	// NoStreamOptions leaves stream_options out. A server that is not known to refuse
	// the field, and does, is asked again without it; see [Provider].
	NoStreamOptions bool
	// ReasoningIn are the fields of a message in which reasoning arrives; the first
	// that holds text counts. Nil means [ReasoningContent], then [Reasoning].
	ReasoningIn []ReasoningField
	// ReasoningOut is the field in which the server's own reasoning goes back to it;
	// empty means the field in which it came. [NoReasoning] keeps it at home.
	// Reasoning of other servers is never sent.
	ReasoningOut ReasoningField
	// ReasoningFiller, when set, is what ReasoningOut holds in an assistant message
	// that calls tools and has no reasoning to show: some servers refuse a message
	// without the field while they think.
	ReasoningFiller *string
	// Parts are the kinds of content parts, beside text, that a user message may hold
	// as far as this API can express them; nil means [ImagePart], [AudioPart] and
	// [FilePart]. A part that a server does not know is INVALID_ARGUMENT.
	Parts []PartKind
	// NoToolChoice leaves tool_choice out unless it is "none" or "required".
	NoToolChoice bool
	// Constrained is the support for structured output that models not listed declare:
	// empty means "all" (json_schema), "none" puts the schema into the prompt.
	Constrained string
	// KeyHeader carries the API key; empty means Authorization, as a bearer token.
	KeyHeader string
}

// ReasoningField names where in a message reasoning stands.
type ReasoningField string

// The places that servers are known to use.
const (
	ReasoningContent ReasoningField = "reasoning_content"
	Reasoning        ReasoningField = "reasoning"
	// ReasoningInContent means parts of type "thinking" in the content.
	ReasoningInContent ReasoningField = "content"
	NoReasoning        ReasoningField = "none"
)

// PartKind is a type of content part.
type PartKind string

// The content parts of the API; video_url is an extension of several servers.
const (
	ImagePart PartKind = "image_url"
	AudioPart PartKind = "input_audio"
	FilePart  PartKind = "file"
	VideoPart PartKind = "video_url"
)

var (
	empty = ""
	space = " "

	imagesOnly = []PartKind{ImagePart}
)

// profiles are the servers that are known, each with the hosts that it is told by: a
// host itself or, with a leading dot, what a host ends with.
var profiles = []struct {
	hosts []string
	Profile
}{
	{[]string{"api.openai.com"}, Profile{Name: "openai"}},
	{[]string{"generativelanguage.googleapis.com", ".googleapis.com"}, Profile{Name: "gemini", Parts: []PartKind{ImagePart, AudioPart}}},
	{[]string{"api.anthropic.com"}, Profile{Name: "anthropic", MaxTokensKey: "max_tokens", Parts: imagesOnly, ReasoningOut: NoReasoning}},
	{[]string{"api.deepseek.com"}, Profile{
		Name: "deepseek", MaxTokensKey: "max_tokens", Parts: []PartKind{}, Constrained: "none",
		ReasoningIn: []ReasoningField{ReasoningContent}, ReasoningOut: ReasoningContent, ReasoningFiller: &empty,
	}},
	{[]string{"api.groq.com"}, Profile{Name: "groq", Parts: imagesOnly, ReasoningIn: []ReasoningField{Reasoning}, ReasoningOut: NoReasoning}},
	{[]string{"api.x.ai"}, Profile{Name: "xai", Parts: imagesOnly, ReasoningOut: NoReasoning}},
	{[]string{"api.mistral.ai"}, Profile{
		Name: "mistral", MaxTokensKey: "max_tokens", NoStreamOptions: true, Parts: []PartKind{ImagePart, AudioPart},
		ReasoningIn: []ReasoningField{ReasoningInContent}, ReasoningOut: ReasoningInContent,
	}},
	{[]string{"router.huggingface.co"}, Profile{Name: "huggingface", MaxTokensKey: "max_tokens", Parts: imagesOnly}},
	{[]string{"openrouter.ai"}, Profile{
		Name: "openrouter", Parts: []PartKind{ImagePart, AudioPart, FilePart, VideoPart},
		ReasoningIn: []ReasoningField{Reasoning, ReasoningContent}, ReasoningOut: Reasoning,
	}},
	{[]string{"api.moonshot.ai", "api.moonshot.cn"}, Profile{
		Name: "kimi", Parts: []PartKind{ImagePart, VideoPart},
		ReasoningIn: []ReasoningField{ReasoningContent}, ReasoningOut: ReasoningContent, ReasoningFiller: &space,
	}},
	{[]string{"api.z.ai", "open.bigmodel.cn"}, Profile{
		Name: "zai", MaxTokensKey: "max_tokens", Parts: []PartKind{ImagePart, VideoPart}, NoToolChoice: true, Constrained: "none",
		ReasoningIn: []ReasoningField{ReasoningContent}, ReasoningOut: ReasoningContent,
	}},
	{[]string{".aliyuncs.com"}, Profile{
		Name: "dashscope", MaxTokensKey: "max_tokens", Parts: []PartKind{ImagePart, AudioPart, VideoPart}, Constrained: "none",
		ReasoningIn: []ReasoningField{ReasoningContent}, ReasoningOut: ReasoningContent,
	}},
	{[]string{".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com"}, Profile{Name: "azure", KeyHeader: "Api-Key", ReasoningOut: NoReasoning}},
}

// ProfileFor returns the profile of a base URL: that of its host when it is known, else
// one named "generic". The caller may change what it gets and put it into
// [Config.Profile].
func ProfileFor(baseURL string) Profile {
	u, err := url.Parse(baseURL)
	if err != nil {
		return Profile{Name: genericName}
	}
	host := strings.ToLower(u.Hostname())
	for _, p := range profiles {
		if slices.ContainsFunc(p.hosts, func(h string) bool {
			return host == h || (strings.HasPrefix(h, ".") && strings.HasSuffix(host, h))
		}) {
			return p.clone()
		}
	}
	return Profile{Name: genericName}
}

// ProfileNamed returns a profile by its name, such as "groq" for a proxy in front of
// Groq; "generic" is the zero profile.
func ProfileNamed(name string) (Profile, bool) {
	for _, p := range profiles {
		if p.Name == name {
			return p.clone(), true
		}
	}
	return Profile{Name: genericName}, name == genericName
}

const genericName = "generic"

func (p Profile) clone() Profile {
	p.ReasoningIn, p.Parts = slices.Clone(p.ReasoningIn), slices.Clone(p.Parts)
	return p
}

// complete replaces zero values by the defaults.
func (p Profile) complete() Profile {
	p = p.clone()
	p.Name = wire.Or(p.Name, genericName)
	p.SystemRole = wire.Or(p.SystemRole, "system")
	p.MaxTokensKey = wire.Or(p.MaxTokensKey, DefaultMaxTokensKey)
	p.KeyHeader = wire.Or(p.KeyHeader, "Authorization")
	if p.ReasoningIn == nil {
		p.ReasoningIn = []ReasoningField{ReasoningContent, Reasoning, ReasoningInContent}
	}
	if p.Parts == nil {
		p.Parts = []PartKind{ImagePart, AudioPart, FilePart}
	}
	return p
}

func (p *Profile) takes(kind PartKind) bool { return slices.Contains(p.Parts, kind) }

// authorize puts a key into the headers of a request.
func (p *Profile) authorize(h http.Header, key string) {
	if p.KeyHeader == "Authorization" {
		wire.Bearer(h, key)
		return
	}
	h.Set(p.KeyHeader, key)
}
