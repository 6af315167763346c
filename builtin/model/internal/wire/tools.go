package wire

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

// MaxToolName is the bound of a tool's name on the wire, in every API here.
const MaxToolName = 64

// maxShownArguments bounds how much of its arguments a model is shown again.
const maxShownArguments = 400

var (
	toolName   = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	notInNames = regexp.MustCompile(`[^a-zA-Z0-9_-]`)
)

// ID makes a text fit to be an id of letters, digits, "_" and "-".
func ID(text string) string { return notInNames.ReplaceAllString(text, "_") }

// Toolset knows the tools of one request by both of their names: Genkit's, which
// may hold anything, and the one on the wire.
type Toolset struct {
	Wire  map[string]string // by Genkit's name
	name  map[string]string // by the wire's
	boxed map[string]bool   // by Genkit's name; see [parameters]
	// object holds, by Genkit's name, the tools of which the model was shown that they
	// take an object.
	object map[string]bool
	// other holds, by Genkit's name, the schemas of the tools that take something else than
	// an object, or not only that.
	other map[string]json.RawMessage
	Defs  []Tool
}

// Tool is a tool as a server is shown it.
type Tool struct {
	Name, Description string
	Parameters        json.RawMessage // the schema of an object
	Strict            bool
}

// NewToolset names every tool that a request offers or remembers.
func NewToolset(req *model.Request) (*Toolset, error) {
	t := &Toolset{Wire: map[string]string{}, name: map[string]string{}, boxed: map[string]bool{}, object: map[string]bool{}, other: map[string]json.RawMessage{}}
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
func (t *Toolset) assign(names []string) error {
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
			if !toolName.MatchString(name) && (len(claimants) > 1 || len(wish) > MaxToolName) {
				sum := sha256.Sum256([]byte(name))
				suffix := "_" + hex.EncodeToString(sum[:6])
				wire = wish[:min(len(wish), MaxToolName-len(suffix))] + suffix
			}
			if other, taken := t.name[wire]; taken {
				return status.Publicf(status.InvalidArgument, "tools %q and %q can't be told apart in a request", other, name)
			}
			t.Wire[name], t.name[wire] = wire, name
		}
	}
	return nil
}

func (t *Toolset) offer(def model.ToolDefinition) error {
	strict := string(def.Metadata["strict"]) == "true"
	params, boxed, err := parameters(def.InputSchema, strict)
	if err != nil {
		return err
	}
	t.boxed[def.Name], t.object[def.Name] = boxed, takesObject(params)
	if boxed || !t.object[def.Name] {
		t.other[def.Name] = def.InputSchema
	}
	t.Defs = append(t.Defs, Tool{t.Wire[def.Name], def.Description, params, strict})
	return nil
}

// Arguments returns a call's input as the API has it: JSON in a string.
func (t *Toolset) Arguments(req *content.ToolRequest) string {
	var buf bytes.Buffer
	input := string(req.Input)
	if json.Compact(&buf, req.Input) == nil {
		input = buf.String()
	}
	switch {
	case t.boxed[req.Name]:
		return `{"` + boxKey + `":` + Or(input, "null") + `}`
	case input == "" || input == "null":
		return "{}"
	}
	return input
}

// Input reads a call's arguments; no arguments are an empty object. problem says, for
// the model, why there is no input: the arguments are neither JSON of the shape that
// the model was shown nor nearly so, or they are null or {} where the tool takes neither.
func (t *Toolset) Input(name, arguments string) (input json.RawMessage, problem string) {
	arguments = strings.TrimSpace(arguments)
	if arguments == "" {
		arguments = "{}"
	}
	const notCalled, were = "The tool was not called: ", " Call it again with arguments that fit its schema. They were: "
	input = json.RawMessage(arguments)
	if schema.Check(input) != nil || (t.object[name] && !IsObject(input)) {
		var ok bool
		if input, ok = format.Arguments(arguments); !ok {
			return nil, notCalled + "the arguments are not a JSON object." + were + Clip(arguments, maxShownArguments)
		}
	}
	if t.boxed[name] {
		o, err := ParseObject(input)
		if err != nil || len(o) != 1 || !o.Has(boxKey) {
			return nil, notCalled + "the arguments are not an object with the one property " + boxKey + "." + were + Clip(arguments, maxShownArguments)
		}
		input = o[0].Value
	}
	if empty := json.RawMessage("{}"); string(input) == "null" && !t.takes(name, input) && !t.boxed[name] && t.takes(name, empty) {
		return empty, ""
	}
	if !t.takes(name, input) {
		return nil, notCalled + "it does not take " + string(input) + "." + were + Clip(arguments, maxShownArguments)
	}
	return input, ""
}

// takes reports whether an input that says nothing, null or {}, is one that a tool takes
// which does not simply take an object. Other inputs are the engine's to check.
func (t *Toolset) takes(name string, input json.RawMessage) bool {
	raw := t.other[name]
	if raw == nil || (string(input) != "null" && string(input) != "{}") {
		return true
	}
	s, err := schema.Compile(raw)
	return err != nil || s.Validate(input) == nil // the engine tells what is wrong with a schema
}

// Knows reports whether a tool has this name on the wire.
func (t *Toolset) Knows(wire string) bool { return t.name[wire] != "" }

// Begins reports whether the name of a tool on the wire begins so.
func (t *Toolset) Begins(prefix string) bool {
	for wire := range t.name {
		if strings.HasPrefix(wire, prefix) {
			return true
		}
	}
	return false
}

// Original returns Genkit's name of a tool that the model called. A name that was
// never offered stays as it is.
func (t *Toolset) Original(wire string) string {
	if name, ok := t.name[wire]; ok {
		return name
	}
	return wire
}

// Choice checks a tool choice; it is "" where it says nothing or no tools are, which servers
// refuse.
func (t *Toolset) Choice(c model.ToolChoice) (string, error) {
	switch c {
	case "", model.ToolChoiceAuto, model.ToolChoiceNone:
		if len(t.Defs) == 0 {
			return "", nil
		}
		return string(c), nil
	case model.ToolChoiceRequired:
		if len(t.Defs) == 0 {
			return "", status.Publicf(status.InvalidArgument, "tool choice %q without any tools", c)
		}
		return string(c), nil
	}
	return "", status.Publicf(status.InvalidArgument, "tool choice %q is not one of auto, required and none", c)
}
