package format_test

import (
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
)

func TestTheBuiltInFormatsKeepTheContract(t *testing.T) {
	const list = `{"type":"array","items":{"type":"object","properties":{"a":{"type":"number"},"é":{"type":"string"}}}}`
	for _, c := range []struct {
		format format.Format
		cases  []enginetest.FormatCase
	}{
		{format.Text(), []enginetest.FormatCase{{Text: "Grüße, 世界 🎈", Want: `"Grüße, 世界 🎈"`}}},
		{format.JSON(), []enginetest.FormatCase{
			{Text: `{"a":1.50,"é":["x",null,true]}`, Want: `{"a":1.50,"é":["x",null,true]}`},
			{Schema: `{"type":"object"}`, Text: "Here:\n```json\n{\"a\": \"b\\n\",}\n```", Want: `{"a":"b\n"}`},
		}},
		{format.JSONL(), []enginetest.FormatCase{{Schema: list, Text: "{\"a\":1}\n{\"é\":\"x\"}\n", Want: `[{"a":1},{"é":"x"}]`}}},
		{format.Array(), []enginetest.FormatCase{{Schema: list, Text: `Sure: [{"a":1},{"é":"x"}]`, Want: `[{"a":1},{"é":"x"}]`}}},
		{format.Enum(), []enginetest.FormatCase{{Schema: `{"type":"string","enum":["red","green"]}`, Text: ` "red" `, Want: `"red"`}}},
	} {
		t.Run(c.format.Name(), func(t *testing.T) { enginetest.TestFormat(t, c.format, c.cases...) })
	}
}
