package format_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const (
	rowSchema  = `{"type":"object","properties":{"a":{"type":"number"}}}`
	rowsSchema = `{"type":"array","items":` + rowSchema + `}`
)

// none is the output of a format that found nothing.
const none = "(none)"

// TestTheReferenceStatementByStatement has a row for each thing that Genkit's formats
// are known to do. Rows that say so differ from it; docs/formats.md has the reasons.
func TestTheReferenceStatementByStatement(t *testing.T) {
	for _, c := range []struct{ statement, format, schema, text, want string }{
		{"json: an object", "json", rowSchema, `{"a":1}`, `{"a":1}`},
		{"json: the first of two", "json", "", `x {"a":1} y {"b":2}`, `{"a":1}`},
		{"json: an array", "json", "", `x [1,2]`, `[1,2]`},
		{"json: a text that ends early is completed", "json", "", `x {"a":[1,{"b":"c`, `{"a":[1,{"b":"c"}]}`},
		{"json: dangling keys are dropped", "json", "", `{"a":1,"b":`, `{"a":1}`},
		{"json: partial literals are allowed", "json", "", `{"a":tru`, `{"a":true}`},
		{"json: nothing found is nothing", "json", "", `none`, none},
		{"json: JSON5", "json", "", "{a:'b',/*c*/\"d\":[1,],//\n}", `{"a":"b","d":[1]}`},
		{"json: non-breaking spaces", "json", "", "{\u00a0\"a\":\u00a01\u00a0} ", `{"a":1}`},
		{"json, differs: quotes before the JSON do not matter", "json", "", `He said "hi {"a":1}`, `{"a":1}`},
		{"json, differs: an apostrophe before it neither", "json", "", `It's {"a":1}`, `{"a":1}`},
		{"json, differs: a fence is understood", "json", "", "Use {x}:\n```json\n{\"a\":1}\n```", `{"a":1}`},
		{"json, differs: a fence in capitals", "json", "", "```JSON\n{\"a\":1}\n```", `{"a":1}`},
		{"json, differs: brackets in prose are passed over", "json", "", `see [here] {"a":1}`, `{"a":1}`},
		{"json, differs: what is malformed is nothing, not an exception", "json", "", `{"a":nope}`, none},
		{"json, differs from Go: innermost containers close first", "json", "", `[{"a":1,`, `[{"a":1}]`},
		{"json, differs: 0", "json", "", `0`, `0`},
		{"json, differs: false", "json", "", `false`, `false`},
		{"json, differs: the empty string", "json", "", `""`, `""`},
		{"json, differs: null", "json", "", `null`, `null`},
		{"json: digits are kept", "json", "", `{"a":1.10,"b":12345678901234567890}`, `{"a":1.10,"b":12345678901234567890}`},
		{"json: raw control characters in strings are refused", "json", "", "{\"a\":\"x\ny\"}", none},

		{"array: objects", "array", rowsSchema, `[{"a":1},{"a":2}]`, `[{"a":1},{"a":2}]`},
		{"array: with prose and a fence", "array", "", "Here:\n```json\n[{\"a\":1}]\n```\nBye", `[{"a":1}]`},
		{"array: empty", "array", "", `[]`, `[]`},
		{"array: JSON5", "array", "", `[{a:'b',},]`, `[{"a":"b"}]`},
		{"array: items that can't be read are skipped", "array", "", `[{"a":@,"b":"]"},{"a":1}]`, `[{"a":1}]`},
		{"array: it ends at its bracket", "array", "", `[{"a":1}] and [{"b":2}]`, `[{"a":1}]`},
		{"array, differs: an item that is cut off is completed at the end", "array", "", `[{"a":1},{"a":2`, `[{"a":1},{"a":2}]`},
		{"array: in an object", "array", "", `{"items":[{"a":1}]}`, `[{"a":1}]`},
		{"array, differs: primitives", "array", "", `[1, "a", true, null, 0, "", false, [2]]`, `[1,"a",true,null,0,"",false,[2]]`},
		{"array, differs: a number at the end is all there", "array", "", `[1, 23`, `[1,23]`},
		{"array, differs: quotes before it do not matter", "array", "", `He said "so [{"a":1}, {"a":2}]`, `[{"a":1},{"a":2}]`},
		{"array: a stray quote between items hides those behind it", "array", "", `[{"a":1} "x, {"a":2}]`, `[{"a":1}]`},
		{"array, differs: objects wanted, other brackets are passed over", "array", rowsSchema, `As [1] says: [{"a":1}]`, `[{"a":1}]`},
		{"array, differs: brackets in prose are passed over", "array", "", `see [here] and [,] [1]`, `[1]`},
		{"array, differs: no array is nothing", "array", "", `I can't.`, none},

		{"jsonl: lines", "jsonl", rowsSchema, "{\"a\":1}\n{\"a\":2}", `[{"a":1},{"a":2}]`},
		{"jsonl: trimmed", "jsonl", "", "  {\"a\":1}\t\r\n", `[{"a":1}]`},
		{"jsonl: lines that don't start with a brace are skipped", "jsonl", "", "Here:\n```jsonl\n{\"a\":1}\n[2]\n3\n```", `[{"a":1}]`},
		{"jsonl: what follows the object on its line is ignored", "jsonl", "", "{\"a\":1}, {\"b\":2}\n", `[{"a":1}]`},
		{"jsonl: JSON5", "jsonl", "", `{a:'b',}`, `[{"a":"b"}]`},
		{"jsonl: no lines", "jsonl", "", ``, `[]`},
		{"jsonl, differs: malformed lines are skipped in the end too", "jsonl", "", "{\"a\":@}\n{\"a\":1}", `[{"a":1}]`},
		{"jsonl, differs: an object over several lines is no line", "jsonl", "", "{\n\"a\":1\n}\n{\"b\":2}", `[{"b":2}]`},
		{"jsonl: a last line that is cut off is completed", "jsonl", "", "{\"a\":1}\n{\"a\":2", `[{"a":1},{"a":2}]`},
		{"jsonl, differs: empty objects count", "jsonl", "", "{}\n", `[{}]`},

		{"enum: a value", "enum", colours, `red`, `"red"`},
		{"enum: quotes and space are trimmed", "enum", colours, " \"red\"\n", `"red"`},
		{"enum: single quotes", "enum", colours, `'red'`, `"red"`},
		{"enum: stray quotes", "enum", colours, `"red'`, `"red"`},
		{"enum: without a schema any text", "enum", "", ` "x" `, `"x"`},
		{"enum, differs: quotes of a value are kept", "enum", colours, `don't know`, `"don't know"`},
		{"enum, differs: also within quotes", "enum", colours, `"don't know"`, `"don't know"`},
		{"enum, differs: JSON escapes", "enum", `{"enum":["café"]}`, `"caf\u00e9"`, `"café"`},
		{"enum, differs: in a fence", "enum", colours, "```\nred\n```", `"red"`},
		{"enum, differs: values that are no strings", "enum", `{"enum":[1,null,true]}`, `null`, `null`},
		{"enum: values match exactly", "enum", colours, `Red`, `"Red"`},

		{"text: the text", "text", "", " a\n\"b\" ", `" a\n\"b\" "`},
		{"text: the empty text", "text", "", ``, `""`},
	} {
		got := parse(t, handler(t, c.format, c.schema), c.text)
		if got == "" {
			got = none
		}
		assert.Equal(t, c.want, got, "%s: %q", c.statement, c.text)
	}
}

func TestOtherPartsOfAMessage(t *testing.T) {
	for _, c := range []struct{ statement, format, parts, want string }{
		{"text parts are joined", "json", `[{"text":"{\"a\":"},{"media":{"url":"x:"}},{"text":"1}"}]`, `{"a":1}`},
		{"json: without JSON in the text, the first data part", "json", `[{"text":"no"},{"data":false},{"data":1}]`, `false`},
		{"array: the same", "array", `[{"data":[1]}]`, `[1]`},
		{"jsonl: the same", "jsonl", `[{"data":[{}]}]`, `[{}]`},
		{"enum: the same", "enum", `[{"data":"red"}]`, `"red"`},
		{"reasoning is no output", "json", `[{"reasoning":"{\"a\":1}"}]`, ``},
	} {
		h := handler(t, c.format, "")
		out, err := h.Parse(t.Context(), &messages(t, `[{"role":"model","content":`+c.parts+`}]`)[0])
		require.NoError(t, err)
		assert.Equal(t, c.want, string(out), c.statement)
	}
}

func TestConfigsAreGenkits(t *testing.T) {
	for name, want := range map[string]format.Config{
		"json":  {Format: "json", ContentType: "application/json", Constrained: true, NoDefaultInstructions: true},
		"array": {ContentType: "application/json", Constrained: true},
		"jsonl": {ContentType: "application/jsonl"},
		"enum":  {ContentType: "text/enum", Constrained: true},
		"text":  {Format: "text", ContentType: "text/plain"},
	} {
		h := handler(t, name, "")
		assert.Equal(t, want, h.Config(), name)
		assert.Empty(t, h.Instructions(), "%s without a schema", name)
		out, err := json.Marshal(h.Config().Apply(&model.OutputOptions{Format: name, ContentType: "x/y", Constrained: new(false)}))
		require.NoError(t, err)
		assert.JSONEq(t, `{"format":"`+name+`","contentType":"x/y","constrained":false}`, string(out), "what the caller sets wins")
	}
}

func TestInstructionsAreGenkitsWordForWord(t *testing.T) {
	spaced := "{ \"type\": \"array\",\n\"items\": " + rowSchema + " }"
	for _, c := range []struct{ name, schema, want string }{
		{"text", rowSchema, ""},
		{"json", rowSchema, "Output should be in JSON format and conform to the following schema:\n\n```\n" + rowSchema + "\n```\n"},
		{"array", spaced, "Output should be a JSON array conforming to the following schema:\n    \n```\n" + rowsSchema + "\n```\n    "},
		{"jsonl", spaced, "Output should be JSONL format, a sequence of JSON objects (one per line) separated by a newline `\\n` character. Each line should be a JSON object conforming to the following schema:\n\n```\n" + rowSchema + "\n```\n    "},
		{"enum", colours, "Output should be ONLY one of the following enum values. Do not output any additional information or add quotes.\n\nred\nreddish\ndon't know\na b"},
		{"enum", `{"type":"string"}`, ""},
		{
			"jsonl", `{"type":"array","items":{"$ref":"#/$defs/r"},"$defs":{"r":{"type":"object","properties":{"n":{"$ref":"#/$defs/r"}}}}}`,
			"Output should be JSONL format, a sequence of JSON objects (one per line) separated by a newline `\\n` character. Each line should be a JSON object conforming to the following schema:\n\n```\n" +
				`{"type":"object","properties":{"n":{"$ref":"#/$defs/r"}},"$defs":{"r":{"type":"object","properties":{"n":{"$ref":"#/$defs/r"}}}}}` + "\n```\n    ",
		},
	} {
		assert.Equal(t, c.want, handler(t, c.name, c.schema).Instructions(), c.name)
	}
}

func TestWhenInstructionsAreGiven(t *testing.T) {
	text := handler(t, "jsonl", rowsSchema).Instructions()
	for _, c := range []struct{ statement, format, schema, asked, want string }{
		{"array, enum and jsonl by default", "jsonl", rowsSchema, ``, text},
		{"json not by default", "json", rowSchema, ``, ""},
		{"true forces", "json", rowSchema, `true`, handler(t, "json", rowSchema).Instructions()},
		{"false suppresses", "jsonl", rowsSchema, `false`, ""},
		{"a string replaces", "jsonl", rowsSchema, `"Do it."`, "Do it."},
		{"a string is used without a schema", "text", "", `"Do it."`, "Do it."},
		{"without a schema there are none", "jsonl", "", `true`, ""},
	} {
		assert.Equal(t, c.want, format.InstructionsFor(handler(t, c.format, c.schema), json.RawMessage(c.asked)), c.statement)
	}
}

func TestWhatSchemasFormatsTake(t *testing.T) {
	byName := map[string]format.Format{}
	for _, f := range format.Builtins() {
		byName[f.Name()] = f
	}
	ref := `{"$ref":"#/$defs/a~1b","$defs":{"a/b":` + rowsSchema + `}}`
	circle := `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}}`
	for _, c := range []struct {
		format string
		takes  []string
		not    []string
	}{
		{"text", []string{``, rowSchema, `{}`}, nil},
		{"json", []string{``, `{}`, `{"type":"string"}`, `true`}, nil},
		{"array", []string{``, `null`, rowsSchema, `{"type":"array"}`, ref}, []string{`{}`, rowSchema, `true`, `{"type":["array","null"]}`, `{"items":{}}`, circle, `{"$ref":"#/nowhere"}`, `{"$ref":"http://x"}`}},
		{"jsonl", []string{``, `null`, rowsSchema, ref}, []string{`{}`, rowSchema, `{"type":"array"}`, `{"type":"array","items":{"type":"string"}}`, `{"type":"array","items":[{"type":"object"}]}`}},
		{"enum", []string{``, `null`, colours, `{"type":"string"}`, `{"type":"enum","enum":["a"]}`, `{"enum":["a"]}`}, []string{`{}`, rowSchema, `{"type":"number","enum":[1]}`, `true`}},
	} {
		for _, s := range c.takes {
			_, err := byName[c.format].New(t.Context(), json.RawMessage(s))
			assert.NoError(t, err, "%s %s", c.format, s)
		}
		for _, s := range c.not {
			_, err := byName[c.format].New(t.Context(), json.RawMessage(s))
			require.ErrorIs(t, err, status.ErrInvalidArgument, "%s %s", c.format, s)
			assert.Regexp(t, `^Must supply an? '(array|string)'`, status.ToWire(err, false).Message)
		}
	}
}

func TestConstraintsAreSimulatedOnce(t *testing.T) {
	h := handler(t, "array", rowsSchema)
	in := []content.Message{content.NewUserTextMessage("x")}
	asked := &model.OutputOptions{Format: "array", JSONSchema: json.RawMessage(rowsSchema)}
	req := &model.Request{Messages: format.Inject(in, h.Instructions()), Output: h.Config().Apply(asked)}
	for constrained, want := range map[string]string{
		"all":  `{"format":"array","contentType":"application/json","constrained":true,"schema":` + rowsSchema + `}`,
		"none": `{"constrained":false}`,
	} {
		got := format.Simulate(req, model.Supports{Constrained: constrained})
		out, err := json.Marshal(got.Output)
		require.NoError(t, err)
		assert.JSONEq(t, want, string(out))
		require.Len(t, got.Messages[0].Content, 2, "the format's instructions stand in for the simulation's")
		assert.Equal(t, h.Instructions(), *got.Messages[0].Content[1].Text)
	}
}

func TestEveryBuiltinIsRegistered(t *testing.T) {
	reg := registry.New(nil)
	for _, f := range format.Builtins() {
		require.NoError(t, format.Register(reg, f))
	}
	for _, name := range []string{"text", "json", "jsonl", "array", "enum"} {
		f, err := format.Lookup(reg, name)
		require.NoError(t, err)
		assert.Equal(t, name, f.Name())
	}
	_, err := format.Lookup(reg, "media")
	require.ErrorIs(t, err, status.ErrInvalidArgument, "neither language has it")
}
