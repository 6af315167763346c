package format_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

func TestArgumentsThatAreNearlyJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1}`:                              `{"a":1}`,
		` {"a": 12345678901234567890.10} `:     `{"a":12345678901234567890.10}`,
		`null`:                                 `{}`,
		`{}`:                                   `{}`,
		`"{\"a\":1}"`:                          `{"a":1}`,
		`"\"{\\\"a\\\":1}\""`:                  `{"a":1}`,
		`{"a":1}}`:                             `{"a":1}`,
		"{\"a\":1}\n}\n]":                      `{"a":1}`,
		"```json\n{\"a\":1}\n```":              `{"a":1}`,
		"```{\"a\":\"```\"}```":                "{\"a\":\"```\"}",
		`{"a":1}<|im_end|>`:                    `{"a":1}`,
		`<|python_tag|>{"a":1}<|eot_id|>`:      `{"a":1}`,
		"<tool_call>\n{\"a\":1}\n</tool_call>": `{"a":1}`,
		`{"a":"<|im_end|>"}`:                   `{"a":"<|im_end|>"}`,
		`{'a':'it\'s'}`:                        `{"a":"it's"}`,
		`{a: [1, 2,], /* b */}`:                `{"a":[1,2]}`,
		`{"a":1}</s>`:                          `{"a":1}`,
	} {
		got, ok := format.Arguments(text)
		require.True(t, ok, text)
		assert.Equal(t, want, string(got), text)
	}
	for _, text := range []string{
		``, ` `, `hello`, `"hello"`, `1`, `true`, `[]`, `[{"a":1}]`, `{`, `{"a":"hel`, `{"a":1`, `{"a":[1}`, `"{\"a\":1"`,
		`{"a":1}{"b":2}`, `{"a":1} and so on`, `I call {"a":1}`, `{"a":1}"`, `{"a" 1}`, `"\"\\\"x\\\"\""`, `{x} {"a":1}`,
	} {
		got, ok := format.Arguments(text)
		assert.False(t, ok, "%q gave %s", text, got)
	}
}

func TestArgumentsAreReadInLinearTime(t *testing.T) {
	for _, piece := range []string{"{", "<|a|>", "```", "}", " ", `{"a":`, "<|", "</s>", "\\", `"`} {
		begin := time.Now()
		_, _ = format.Arguments(strings.Repeat(piece, 1<<20/len(piece)))
		_, _ = format.Arguments(strings.Repeat(piece, 1<<20/len(piece)) + "x")
		assert.Less(t, time.Since(begin), 5*time.Second, piece)
	}
}

func FuzzArguments(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `"{\"a\":1}"`, "```json\n{'a':1,}\n```}", `null`, `{"a":"\ud800"}<|im_end|>`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		raw, ok := format.Arguments(text)
		if !ok {
			return
		}
		require.NoError(t, schema.Check(raw), text)
		require.Equal(t, byte('{'), raw[0])
		again, ok := format.Arguments(string(raw))
		require.True(t, ok)
		require.Equal(t, string(raw), string(again))
	})
}
