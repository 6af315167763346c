package format_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
)

const (
	anObject = `{"type":"object","properties":{"x":{"type":"number"}}}`
	anArray  = `{"type":"array","items":{"type":"object"}}`
)

// A model's thoughts, quotes and unfinished values are not its answer.
func TestTheAnswerIsWhatTheSchemaLooksFor(t *testing.T) {
	for name, c := range map[string]struct {
		format             format.Format
		schema, text, want string
	}{
		"a draft in a thought":              {format.JSON(), anObject, `<think>maybe {"x":1}?</think>{"x":2}`, `{"x":2}`},
		"a thought after some words":        {format.JSON(), anObject, "Sure. <think>{\"x\":1}</think>\n```json\n{\"x\":2}\n```", `{"x":2}`},
		"two thoughts":                      {format.JSON(), ``, `<think>{"x":1}</think> hm <think>[2]</think> {"x":3}`, `{"x":3}`},
		"a thought that the template opens": {format.JSON(), anObject, `so {"x":1} is it</think>{"x":2}`, `{"x":2}`},
		"nothing but a thought":             {format.JSON(), anObject, `<think>{"x":1}`, ``},
		"a tag in a value":                  {format.JSON(), ``, `{"x":"<think>a</think>"}`, `{"x":"<think>a</think>"}`},
		"a tag in a text":                   {format.JSON(), ``, `"a</think>b"`, `"a</think>b"`},
		"a quotation":                       {format.JSON(), anObject, `As said in [1], it is {"x":2}.`, `{"x":2}`},
		"a quotation at the start":          {format.JSON(), anObject, `[1] {"x":2}`, `{"x":2}`},
		"an object before a list":           {format.JSON(), anArray, `With {"n":2} of them: [{"x":1}]`, `[{"x":1}]`},
		"a list of objects is no object":    {format.JSON(), anObject, `[{"x":1},{"x":2}]`, `[{"x":1},{"x":2}]`},
		"no schema takes the first":         {format.JSON(), ``, `[1] {"x":2}`, `[1]`},
		"a nullable object":                 {format.JSON(), `{"type":["object","null"]}`, `[1] {"x":2}`, `{"x":2}`},
		"a schema by reference":             {format.JSON(), `{"$ref":"#/$defs/o","$defs":{"o":` + anObject + `}}`, `[1] {"x":2}`, `{"x":2}`},
		"a number that is all there":        {format.JSON(), anObject, `{"x": 1`, `{"x":1}`},
		"a number in a list":                {format.JSON(), ``, `[1, 23`, `[1,23]`},
		"a text that ends in a digit":       {format.JSON(), ``, `{"x": "1`, `{"x":"1"}`},
		"a list after a thought":            {format.Array(), anArray, `<think>[{"x":1}]</think>[{"x":2}]`, `[{"x":2}]`},
		"lines after a thought":             {format.JSONL(), anArray, "<think>\n{\"x\":1}\n</think>\n{\"x\":2}\n", `[{"x":2}]`},
		"a choice after a thought":          {format.Enum(), `{"enum":["red","green"]}`, "<think>red?</think>\ngreen", `"green"`},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := c.format.New(t.Context(), []byte(c.schema))
			require.NoError(t, err)
			m := content.NewModelTextMessage(c.text)
			got, err := h.Parse(t.Context(), &m)
			require.NoError(t, err)
			assert.Equal(t, c.want, strings.ReplaceAll(string(got), " ", ""))
		})
	}
	for _, c := range []struct{ format, text, want string }{
		{"json", `{"x": 1`, `{}`},
		{"json", `[1, 23`, `[1]`},
		{"array", `[1, 23`, `[1]`},
		{"array", `[{"x":1},{"x":2`, `[{"x":1}]`},
		{"jsonl", "{\"x\":1}\n{\"x\":2", `[{"x":1}]`},
	} {
		got := parseIn(t, format.Unfinished(t.Context()), handler(t, c.format, ""), c.text)
		assert.Equal(t, c.want, got, "a limit cut off %s %q", c.format, c.text)
	}
}

// marked are the forms in which models reason; %s is the thought.
var marked = []string{
	"<think>%s</think>", "<THINK>%s</THINK>", "<Think>%s</think>", "<thinking>%s</thinking>", "<thought>%s</thought>", "<reasoning>%s</reasoning>",
	"<think id=\"a\">%s</think>", "<think>a <think>b</think> %s</think>", "[THINK]%s[/THINK]", "[think]%s[/think]", "◁think▷%s◁/think▷",
	"<|channel|>analysis<|message|>%s<|end|>", "<|channel|>commentary to=functions.x<|message|>%s<|call|>",
	"<|channel|>analysis<|message|>%s<|end|><|start|>assistant<|channel|>final<|message|>", "<|start|>assistant<|channel|>analysis<|message|>%s<|end|><|start|>assistant<|message|>",
	"%s</think>", "%s</thinking>", "so %s[/THINK]", "[thinking] <think>%s</think>", "(see {that}) <think>%s</think>", "As [1] says: <think>%s</think>",
	"<think>%s</think> <think>%s</think>", "<think>I say <thinking> and %s</think>", "He said \"hm\" <think>%s</think>", "<think/><think>%s</think>",
}

// In every form, in every format: the draft is not the answer, nor is it streamed.
func TestDraftsAreNoAnswers(t *testing.T) {
	for _, form := range marked {
		for _, c := range []struct{ format, schema, draft, said, want string }{
			{"json", anObject, `{"x":1}`, `{"x":2}`, `{"x":2}`},
			{"json", anObject, `well {"x":1} it's "so`, "fine:\n```json\n{\"x\":2}\n```\n", `{"x":2}`},
			{"array", anArray, `[{"x":1}]`, `[{"x":2}]`, `[{"x":2}]`},
			{"jsonl", anArray, "\n{\"x\":1}\n", "\n{\"x\":2}\n", `[{"x":2}]`},
			{"enum", `{"enum":["red","green"]}`, `red`, `green`, `"green"`},
		} {
			if c.format == "enum" && !strings.HasPrefix(form, "<") && !strings.HasPrefix(form, "[") && !strings.HasPrefix(form, "%") || c.format == "enum" && strings.HasPrefix(form, "[thinking]") {
				continue // the words before are the answer
			}
			text := strings.ReplaceAll(form, "%s", c.draft) + c.said
			assert.Equal(t, c.want, parse(t, handler(t, c.format, c.schema), text), "%s: %s", c.format, text)
			if strings.Contains(form, "<think>%s</think>") {
				for _, out := range streamed(t, handler(t, c.format, c.schema), strings.Split(text, "")) {
					assert.NotContains(t, out, `"x":1`, "%s: %s", c.format, text)
				}
			}
		}
	}
	for _, c := range []struct{ name, format, schema, text, want string }{
		{"nothing else is there", "json", anObject, `<think>{"x":1}</think>`, `{"x":1}`},
		{"a closing tag behind it", "json", anObject, `{"x":1}</think>`, `{"x":1}`},
		{"nothing but a list", "array", anArray, `<think>[{"x":1}]</think>`, `[{"x":1}]`},
		{"nothing but lines", "jsonl", anArray, "<think>\n{\"x\":1}\n</think>", `[{"x":1}]`},
		{"it goes on", "json", anObject, `<thinking>{"x":1}`, ``},
		{"it goes on in a channel", "json", anObject, `<|channel|>analysis<|message|>{"x":1}`, ``},
		{"marks in a value", "json", "", `{"x":"<think>a</think>","y":["[THINK]","<|channel|>"]}`, `{"x":"<think>a</think>","y":["[THINK]","<|channel|>"]}`},
		{"marks in a value after words", "json", "", `Say: {"x":"a</think>b"}`, `{"x":"a</think>b"}`},
		{"marks in a value that is cut off", "json", "", `{"x":"a</think>b`, `{"x":"a</think>b"}`},
		{"other tags", "json", anObject, `<p>{"x":1}</p><thinker>{"x":2}</thinker>`, `{"x":1}`},
		{"text is text", "text", "", `<think>a</think>b`, `"<think>a</think>b"`},
	} {
		assert.Equal(t, c.want, parse(t, handler(t, c.format, c.schema), c.text), c.name)
	}
}

// The schema says what is looked for, in whatever way it says so, and which of several
// values it is.
func TestTheSchemaChoosesAmongValues(t *testing.T) {
	const one = `{"type":"object","properties":{"x":{"type":"number"}},"required":["x"]}`
	objects := map[string]string{
		"type": one, "anyOf null": `{"anyOf":[` + one + `,{"type":"null"}]}`, "oneOf": `{"oneOf":[` + one + `,{"type":"object","required":["z"]}]}`,
		"allOf": `{"allOf":[{"$ref":"#/$defs/o"}],"$defs":{"o":` + one + `}}`, "a chain": `{"$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"$ref":"#/$defs/o"}]},"o":` + one + `}}`,
		"a list of types": `{"type":["object","null"],"required":["x"]}`, "no type": `{"required":["x"],"properties":{"x":{"type":"number"}}}`,
		"required alone": `{"required":["x"]}`, "additional": `{"additionalProperties":{"type":"number"},"required":["x"],"minProperties":1}`, "const": `{"const":{"x":2}}`,
		"a branch without a type": `{"anyOf":[{"properties":{"x":{}},"required":["x"]},{"type":"null"}]}`,
	}
	for name, schema := range objects {
		for _, text := range []string{
			`See [1]: {"x":2}`, `[1] {"x":2}`, `With {"y":1} we get {"x":2}`, `{} is not enough: {"x":2}`, "{\"y\":[{\"x\":3}]}\n```json\n{\"x\":2}\n```", `[{"x":7}] or rather {"x":2}.`,
		} {
			assert.Equal(t, `{"x":2}`, parse(t, handler(t, "json", schema), text), "%s: %s", name, text)
			outs := streamed(t, handler(t, "json", schema), strings.Split(text, ""))
			assert.Equal(t, `{"x":2}`, outs[len(outs)-1], "streamed, %s: %s", name, text)
		}
	}
	for _, c := range []struct{ format, schema, text, want string }{
		{"json", `{"type":"array","items":` + one + `}`, `See [1]: [{"x":2}]`, `[{"x":2}]`},
		{"json", `{"type":"array","items":{"$ref":"#/$defs/o"},"$defs":{"o":` + one + `}}`, `See [1] and [{"y":1}]: [{"x":2}]`, `[{"x":2}]`},
		{"json", `{"items":{"type":"string"},"type":"array"}`, `See [1]: ["a"]`, `["a"]`},
		{"json", `{"anyOf":[` + one + `,{"type":"array","items":` + one + `}]}`, `See [1]: [{"x":2}]`, `[{"x":2}]`},
		{"json", `{"anyOf":[` + one + `,{"type":"array","items":` + one + `}]}`, `See [1]: {"x":2}`, `{"x":2}`},
		{"json", one, `See [1]: {"x": 2`, `{"x": 2}`},
		{"json", one, `See [1]: {"y": "2`, `{"y": "2"}`},
		{"json", one, `Nothing but [1]`, `[1]`},
		{"json", one, `{"y":1} and {"z":2}`, `{"y":1}`},
		{"array", `{"type":"array","items":{"anyOf":[` + one + `,{"type":"null"}]}}`, `See [1]: [{"x":2}]`, `[{"x":2}]`},
		{"array", `{"type":"array","items":{"$ref":"#/$defs/o"},"$defs":{"o":{"allOf":[` + one + `]}}}`, `See [1]: [{"x":2}]`, `[{"x":2}]`},
		{"array", `{"type":"array","items":{"type":"string"}}`, `See [1]: ["a"]`, `["a"]`},
		{"array", `{"type":"array","items":{"type":"number"}}`, `[1, 23`, `[1,23]`},
		{"array", `{"type":"array"}`, `[-1.5e3`, `[-1.5e3]`},
		{"array", `{"type":"array"}`, `["a 1`, `["a 1"]`},
		{"array", `{"type":"array"}`, `[1, `, `[1]`},
		{"array", `{"type":"array"}`, `[{"x":1},{"x": [2`, `[{"x":1},{"x":[2]}]`},
		{"jsonl", anArray, "{\"x\":1}\n{\"x\": 23", `[{"x":1},{"x":23}]`},
		{"jsonl", anArray, "{\"x\":1}\n{\"x\": \"2", `[{"x":1},{"x":"2"}]`},
	} {
		assert.Equal(t, strings.ReplaceAll(c.want, " ", ""), strings.ReplaceAll(parse(t, handler(t, c.format, c.schema), c.text), " ", ""), "%s of %s in %s", c.format, c.schema, c.text)
	}
	circle := `{"$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}]}}}`
	assert.NotEmpty(t, parse(t, handler(t, "json", circle), `[1] {"x":2}`), "a circle ends")
}

// Texts that are made to be read again and again are read in a time in proportion to
// their length.
func TestThoughtsTakeLinearTime(t *testing.T) {
	for _, unit := range []string{
		"<think>", "</think>", "<think></think>", "<think>{</think>", "[THINK]", "[", "{", "\"", "<", "<think ", "<|channel|>", "<|start|>a", "<|channel|>final<|message|>", "[THINK", " \"", "{<think>", "◁", "\\", "{\"a\":[1]} ", "[1] ",
	} {
		for _, name := range []string{"json", "array", "jsonl", "enum"} {
			schema := map[string]string{"json": anObject, "array": anArray, "jsonl": anArray, "enum": ""}[name]
			text := strings.Repeat(unit, 1<<16/len(unit))
			start := time.Now()
			parse(t, handler(t, name, schema), text)
			assert.Less(t, time.Since(start), time.Second, "%s: %q", name, unit) // some milliseconds, and seconds where it is the square
		}
	}
}

// While it is streamed, no thought is given for an answer either.
func TestThoughtsAreNotStreamed(t *testing.T) {
	for name, c := range map[string]struct {
		format       format.Format
		schema, text string
	}{
		"json":  {format.JSON(), anObject, `<think>maybe {"x":1}?</think>see [1]: {"x":2}`},
		"array": {format.Array(), anArray, `<think>[{"x":1}]</think>[{"x":2}]`},
		"jsonl": {format.JSONL(), anArray, "<think>\n{\"x\":1}\n</think>\n{\"x\":2}\n"},
	} {
		h, err := c.format.New(t.Context(), []byte(c.schema))
		require.NoError(t, err)
		p, ok := h.(format.ChunkParser)
		require.True(t, ok)
		seen := ""
		for i := range c.text {
			got, err := p.ParseChunk(t.Context(), c.text[:i+1], c.text[i:i+1])
			require.NoError(t, err)
			assert.NotContains(t, string(got), `"x":1`, "%s after %q", name, c.text[:i+1])
			assert.NotContains(t, string(got), `[1]`, name)
			if got != nil {
				seen = string(got)
			}
		}
		assert.Contains(t, seen, `{"x":2}`, name)
	}
}
