package format_test

import (
	"context"
	"strings"
	"testing"

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
	h, err := format.JSON().New(t.Context(), []byte(anObject))
	require.NoError(t, err)
	m := content.NewModelTextMessage(`{"x": 1`)
	got, err := h.Parse(format.Unfinished(context.WithoutCancel(t.Context())), &m)
	require.NoError(t, err)
	assert.Equal(t, `{}`, string(got), "a limit cut the number off")
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
