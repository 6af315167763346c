package generate_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const rowsOfA = `{"type":"array","items":` + schemaA + `}`

func TestBuiltinFormatsThroughTheLoop(t *testing.T) {
	for _, c := range []struct{ format, schema, says, output, asked string }{
		{"array", rowsOfA, `Here: [{"a":1},]`, `[{"a":1}]`, `{"format":"array","contentType":"application/json","constrained":true,"schema":` + rowsOfA + `}`},
		{"jsonl", rowsOfA, "{\"a\":1}\nno\n{\"a\":2}", `[{"a":1},{"a":2}]`, `{"format":"jsonl","contentType":"application/jsonl","schema":` + rowsOfA + `}`},
		{"enum", `{"type":"string","enum":["yes","no"]}`, `'yes'`, `"yes"`, `{"format":"enum","contentType":"text/enum","constrained":true,"schema":{"type":"string","enum":["yes","no"]}}`},
		{"enum", `{"enum":[false,0]}`, `0`, `0`, `{"format":"enum","contentType":"text/enum","constrained":true,"schema":{"enum":[false,0]}}`},
	} {
		reg := newRegistry(t)
		m := newModel(t, reg, says(c.says), says(`nothing of the kind`))
		opts := ask()
		opts.Output = &model.OutputOptions{Format: c.format, JSONSchema: json.RawMessage(c.schema)}
		assert.Equal(t, c.output, string(run(t, reg, opts).Parsed), c.format)
		assert.JSONEq(t, c.asked, toJSON(t, m.request(t, 0).Output))
		parts := m.request(t, 0).Messages[0].Content
		require.Len(t, parts, 2, "%s: instructed although the model enforces schemas", c.format)
		f, err := format.Lookup(reg, c.format)
		require.NoError(t, err)
		h, err := f.New(t.Context(), json.RawMessage(c.schema))
		require.NoError(t, err)
		assert.Equal(t, h.Instructions(), *parts[1].Text)

		if c.format != "jsonl" { // no line is an empty array
			require.ErrorIs(t, runErr(t, reg, opts), generate.ErrInvalidOutput, c.format)
		}
		opts.Output.JSONSchema = json.RawMessage(`{"type":"number"}`)
		require.ErrorIs(t, runErr(t, reg, opts), status.ErrInvalidArgument, c.format)
	}
}

// A number at the end of a text is whole when the model says that it has finished, and may
// have lost digits when a limit has cut the text off.
func TestANumberAtTheEndIsWholeUnlessALimitCutItOff(t *testing.T) {
	for finish, want := range map[string]string{"stop": `{"x":1}`, "length": `{}`} {
		reg := newRegistry(t)
		newModel(t, reg, `{"finishReason":"`+finish+`","message":{"role":"model","content":[{"text":"{\"x\": 1"}]}}`)
		opts := ask()
		opts.Output = &model.OutputOptions{Format: "json", JSONSchema: json.RawMessage(`{"type":"object","properties":{"x":{"type":"number"}}}`)}
		assert.JSONEq(t, want, string(run(t, reg, opts).Parsed), finish)
	}
}

func TestOutputOfAnUnfinishedResponseIsNotRead(t *testing.T) {
	const whole = `[{"a":1},{"a":2}]`
	for finish, want := range map[string]string{"stop": whole, "length": `[{"a":1}]`, "unknown": whole, "aborted": "", "interrupted": "", "other": ""} {
		reg := newRegistry(t)
		newModel(t, reg, `{"finishReason":"`+finish+`","message":{"role":"model","content":[{"text":"[{\"a\":1},{\"a\":2"}]}}`)
		opts := ask()
		opts.Output = &model.OutputOptions{Format: "array", JSONSchema: json.RawMessage(rowsOfA)}
		resp := run(t, reg, opts)
		assert.Equal(t, want, string(resp.Parsed), finish)
		assert.Equal(t, model.FinishReason(finish), resp.FinishReason)
	}
}
