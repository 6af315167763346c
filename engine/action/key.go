package action

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Kind is the kind of an action; its string is the first segment of the key.
type Kind string

// Genkit's kinds.
const (
	Custom                Kind = "custom"
	Flow                  Kind = "flow"
	Model                 Kind = "model"
	BackgroundModel       Kind = "background-model"
	CheckOperation        Kind = "check-operation"
	CancelOperation       Kind = "cancel-operation"
	Tool                  Kind = "tool"
	ToolV2                Kind = "tool.v2"
	Prompt                Kind = "prompt"
	ExecutablePrompt      Kind = "executable-prompt"
	Resource              Kind = "resource"
	Embedder              Kind = "embedder"
	Evaluator             Kind = "evaluator"
	Retriever             Kind = "retriever"
	Indexer               Kind = "indexer"
	Reranker              Kind = "reranker"
	Util                  Kind = "util"
	Agent                 Kind = "agent"
	AgentSnapshot         Kind = "agent-snapshot"
	AgentAbort            Kind = "agent-abort"
	DynamicActionProvider Kind = "dynamic-action-provider"
)

// Key names an action: "/<kind>/<name>". The name may contain slashes; by
// convention its first segment is the plugin or module.
type Key struct {
	Kind Kind
	Name string
}

// String returns "/<kind>/<name>".
func (k Key) String() string { return "/" + string(k.Kind) + "/" + k.Name }

// ParseKey reads "/<kind>/<name>"; it fails with INVALID_ARGUMENT.
func ParseKey(s string) (Key, error) {
	rest, ok := strings.CutPrefix(s, "/")
	kind, name, found := strings.Cut(rest, "/")
	if !ok || !found || kind == "" || name == "" {
		return Key{}, status.Publicf(status.InvalidArgument, "action key %q: want \"/<type>/<name>\", such as \"/tool/textkit/slugify\"", s)
	}
	return Key{Kind: Kind(kind), Name: name}, nil
}

// ShortName returns the part of a name behind its last slash: the name that a
// model is shown.
func ShortName(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// MaxNameBytes bounds an action's name.
const MaxNameBytes = 256

func checkName(kind Kind, name string) error {
	switch {
	case kind == "" || name == "":
		return status.Publicf(status.InvalidArgument, "an action needs a kind and a name, got %q and %q", kind, name)
	case len(name) > MaxNameBytes:
		return status.Publicf(status.InvalidArgument, "action name of %d bytes exceeds the limit of %d", len(name), MaxNameBytes)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return status.Publicf(status.InvalidArgument, "action name %q holds characters that can't be shown", name)
	}
	return nil
}
