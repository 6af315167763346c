//go:build peers

package prompts_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/dotprompt/go/dotprompt"
	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"

	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
)

type suite struct {
	Name     string
	Template string
	Data     specData
	Schemas  map[string]any
	Partials map[string]string
	Resolver map[string]string `yaml:"resolverPartials"`
	Tests    []struct {
		Desc    string
		Data    specData
		Options map[string]any
		Expect  map[string]any
	}
}

type specData struct {
	Input    map[string]any
	Context  map[string]any
	Messages []any
}

// upstreamFails are the suites of dotprompt's spec that its own Go library fails under
// the harness of engine/prompt/spec_test.go: docs/prompts.md says why.
var upstreamFails = []string{
	"picoschema/any_field", "picoschema/array_of_scalars", "picoschema/enum_field", "picoschema/nested_named_schema",
	"picoschema/nested_object_in_array_and_out", "picoschema/required_field", "picoschema/simple_object",
}

// TestTheSpecInTheGoLibrary says which of the spec's suites the Go library fails, so
// that docs/prompts.md stays true.
func TestTheSpecInTheGoLibrary(t *testing.T) {
	root := filepath.Dir(enginetest.Spec(t, "dotprompt/metadata.yaml"))
	var failed []string
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var suites []suite
		if err := yaml.Unmarshal(raw, &suites); err != nil {
			return err
		}
		for i := range suites {
			if why := suites[i].upstream(); why != "" {
				name := strings.TrimSuffix(filepath.Base(path), ".yaml") + "/" + suites[i].Name
				t.Logf("%s: %s", name, why)
				failed = append(failed, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(failed)
	if !slices.Equal(failed, upstreamFails) {
		t.Errorf("the Go library fails %q, docs/prompts.md says %q", failed, upstreamFails)
	}
}

// upstream renders the cases of a suite, each with an instance of its own, and says
// what is wrong first.
func (s *suite) upstream() string {
	for _, c := range s.Tests {
		options := &dotprompt.DotpromptOptions{Partials: map[string]string{}, Schemas: map[string]*jsonschema.Schema{}}
		for _, partials := range []map[string]string{s.Partials, s.Resolver} {
			for name, source := range partials {
				options.Partials[name] = source
			}
		}
		for name, v := range s.Schemas {
			schema := &jsonschema.Schema{}
			if err := json.Unmarshal(mustJSON(v), schema); err != nil {
				return err.Error()
			}
			options.Schemas[name] = schema
		}
		data := &dotprompt.DataArgument{Input: c.Data.Input, Context: c.Data.Context}
		if data.Context == nil {
			data.Context = s.Data.Context
		}
		messages := c.Data.Messages
		if messages == nil {
			messages = s.Data.Messages
		}
		for _, m := range messages {
			given, _ := m.(map[string]any)
			parts, _ := given["content"].([]any)
			message := dotprompt.Message{Role: dotprompt.Role(fmt.Sprint(given["role"]))}
			for _, part := range parts {
				text, _ := part.(map[string]any)
				message.Content = append(message.Content, &dotprompt.TextPart{Text: fmt.Sprint(text["text"])})
			}
			data.Messages = append(data.Messages, message)
		}
		overlay := &dotprompt.PromptMetadata{}
		if in, ok := c.Options["input"].(map[string]any); ok {
			overlay.Input.Default, _ = in["default"].(map[string]any)
			if data.Input == nil {
				data.Input = map[string]any{}
			}
			for key, v := range overlay.Input.Default {
				if _, given := data.Input[key]; !given {
					data.Input[key] = v // its own harness hands defaults over in a struct of its own
				}
			}
		}
		dp := dotprompt.NewDotprompt(options)
		out, err := dp.Render(s.Template, data, overlay)
		if err != nil {
			return c.Desc + ": " + err.Error()
		}
		if got, want := texts(plainJSON(out.Messages)), texts(plainJSON(c.Expect["messages"])); got != want {
			return fmt.Sprintf("%s: messages %s, want %s", c.Desc, got, want)
		}
		expected, _ := c.Expect["output"].(map[string]any)
		if got, want := string(mustJSON(plainJSON(out.Output.Schema))), string(mustJSON(plainJSON(expected["schema"]))); got != want {
			return fmt.Sprintf("%s: schema %s, want %s", c.Desc, got, want)
		}
	}
	return ""
}

// texts joins the roles and texts of messages: the library's parts have no JSON form of
// their own.
func texts(v any) string {
	var b strings.Builder
	list, _ := v.([]any)
	for _, m := range list {
		message, _ := m.(map[string]any)
		b.WriteString(fmt.Sprint(first(message, "role", "Role"), ":"))
		parts, _ := first(message, "content", "Content").([]any)
		for _, p := range parts {
			part, _ := p.(map[string]any)
			if text := first(part, "text", "Text"); text != nil {
				b.WriteString(fmt.Sprint(text))
			}
		}
		b.WriteString(";")
	}
	return b.String()
}

func first(m map[string]any, keys ...string) any {
	for _, key := range keys {
		if v, ok := m[key]; ok {
			return v
		}
	}
	return nil
}

func mustJSON(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		return []byte(err.Error())
	}
	return raw
}

func plainJSON(v any) (out any) {
	if json.Unmarshal(mustJSON(v), &out) != nil {
		return nil
	}
	return out
}
