package openai

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// maxToolName is the API's bound of a function's name.
const maxToolName = 64

// maxShownArguments bounds how much of its arguments a model is shown again.
const maxShownArguments = 400

var (
	toolName   = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	notInNames = regexp.MustCompile(`[^a-zA-Z0-9_-]`)
)

// toolset knows the tools of one request by both of their names: Genkit's, which
// may hold anything, and the one on the wire.
type toolset struct {
	wire  map[string]string // by Genkit's name
	name  map[string]string // by the wire's
	boxed map[string]bool   // by Genkit's name; see [parameters]
	// object holds, by Genkit's name, the tools of which the model was shown that they
	// take an object.
	object map[string]bool
	defs   []wireTool
}

type wireTool struct {
	Type     string       `json:"type"`
	Function wireFunction `json:"function"`
}

type wireFunction struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      bool            `json:"strict,omitempty"`
}

// newToolset names every tool that a request offers or remembers.
func newToolset(req *model.Request) (*toolset, error) {
	t := &toolset{wire: map[string]string{}, name: map[string]string{}, boxed: map[string]bool{}, object: map[string]bool{}}
	var names []string
	for _, def := range req.Tools {
		names = append(names, def.Name)
	}
	for _, msg := range req.Messages {
		for _, part := range msg.Content {
			if part.ToolRequest != nil {
				names = append(names, part.ToolRequest.Name)
			}
			if part.ToolResponse != nil {
				names = append(names, part.ToolResponse.Name)
			}
		}
	}
	if err := t.assign(names); err != nil {
		return nil, err
	}
	offered := map[string]bool{}
	for i, def := range req.Tools {
		if offered[def.Name] {
			return nil, status.Publicf(status.InvalidArgument, "tools[%d]: there are two tools called %q", i, def.Name)
		}
		offered[def.Name] = true
		if err := t.offer(def); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "tools[%d] %q: input schema: %w", i, def.Name, err)
		}
	}
	return t, nil
}

// assign gives each name its name on the wire. A suitable one keeps it. In others
// the characters that the API refuses become "_"; where that is too long, taken,
// or what another name becomes too, the end of a hash tells them apart. The result
// does not depend on the order of names.
func (t *toolset) assign(names []string) error {
	wishes := map[string]map[string]bool{} // wire name → names that want it
	for _, name := range names {
		if name == "" {
			return status.Publicf(status.InvalidArgument, "a tool has no name")
		}
		wish := notInNames.ReplaceAllString(name, "_")
		if wishes[wish] == nil {
			wishes[wish] = map[string]bool{}
		}
		wishes[wish][name] = true
	}
	for wish, claimants := range wishes {
		for name := range claimants {
			wire := wish
			if !toolName.MatchString(name) && (len(claimants) > 1 || len(wish) > maxToolName) {
				sum := sha256.Sum256([]byte(name))
				suffix := "_" + hex.EncodeToString(sum[:6])
				wire = wish[:min(len(wish), maxToolName-len(suffix))] + suffix
			}
			if other, taken := t.name[wire]; taken {
				return status.Publicf(status.InvalidArgument, "tools %q and %q can't be told apart in a request", other, name)
			}
			t.wire[name], t.name[wire] = wire, name
		}
	}
	return nil
}

func (t *toolset) offer(def model.ToolDefinition) error {
	strict := string(def.Metadata["strict"]) == "true"
	params, boxed, err := parameters(def.InputSchema, strict)
	if err != nil {
		return err
	}
	t.boxed[def.Name], t.object[def.Name] = boxed, takesObject(params)
	t.defs = append(t.defs, wireTool{Type: "function", Function: wireFunction{
		Name: t.wire[def.Name], Description: def.Description, Parameters: params, Strict: strict,
	}})
	return nil
}

// arguments returns a call's input as the API has it: JSON in a string.
func (t *toolset) arguments(req *content.ToolRequest) string {
	var buf bytes.Buffer
	input := string(req.Input)
	if json.Compact(&buf, req.Input) == nil {
		input = buf.String()
	}
	switch {
	case t.boxed[req.Name]:
		return `{"` + boxKey + `":` + or(input, "null") + `}`
	case input == "" || input == "null":
		return "{}"
	}
	return input
}

// input reads a call's arguments; no arguments are an empty object. problem says, for
// the model, why there is no input: the arguments are neither JSON of the shape that
// the model was shown nor nearly so.
func (t *toolset) input(name, arguments string) (input json.RawMessage, problem string) {
	arguments = strings.TrimSpace(arguments)
	if arguments == "" {
		arguments = "{}"
	}
	input = json.RawMessage(arguments)
	if schema.Check(input) != nil || (t.object[name] && !isObject(input)) {
		var ok bool
		if input, ok = format.Arguments(arguments); !ok {
			return nil, "The tool was not called: the arguments are not a JSON object. Call it again with arguments that fit its schema. They were: " + clip(arguments, maxShownArguments)
		}
	}
	if t.boxed[name] {
		if o, err := parseObject(input); err == nil && len(o) == 1 && o.has(boxKey) {
			return o[0].value, ""
		}
	}
	return input, ""
}

// whole reports whether the arguments of a call are all there, in an answer that
// ended before the model was done. The last call of such an answer may not have begun
// its arguments yet; nothing is repaired here, because that closes what is open.
func (t *toolset) whole(arguments string, last bool) bool {
	arguments = strings.TrimSpace(arguments)
	if arguments == "" {
		return !last
	}
	return schema.Check(json.RawMessage(arguments)) == nil && isObject(json.RawMessage(arguments))
}

// original returns Genkit's name of a tool that the model called. A name that was
// never offered stays as it is.
func (t *toolset) original(wire string) string {
	if name, ok := t.name[wire]; ok {
		return name
	}
	return wire
}

// choice returns tool_choice, or "" to leave it out: the API refuses it where no
// tools are.
func (t *toolset) choice(c model.ToolChoice) (string, error) {
	switch c {
	case "", model.ToolChoiceAuto, model.ToolChoiceNone:
		if len(t.defs) == 0 {
			return "", nil
		}
		return string(c), nil
	case model.ToolChoiceRequired:
		if len(t.defs) == 0 {
			return "", status.Publicf(status.InvalidArgument, "tool choice %q without any tools", c)
		}
		return string(c), nil
	}
	return "", status.Publicf(status.InvalidArgument, "tool choice %q is not one of auto, required and none", c)
}
