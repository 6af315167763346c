package model_test

import (
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// TestWireTypesGiveBackWhatTheyRead makes random instances from Genkit's own schema.
func TestWireTypesGiveBackWhatTheyRead(t *testing.T) {
	const instances = 400
	for name, again := range map[string]func(t *testing.T, definition string, n int){
		"GenerateRequest":       enginetest.RoundTrip[model.Request],
		"GenerateResponse":      enginetest.RoundTrip[model.Response],
		"GenerateResponseChunk": enginetest.RoundTrip[model.Chunk],
		"GenerateActionOptions": enginetest.RoundTrip[model.GenerateOptions],
		"GenerationUsage":       enginetest.RoundTrip[model.Usage],
		"ToolDefinition":        enginetest.RoundTrip[model.ToolDefinition],
		"Message":               enginetest.RoundTrip[content.Message],
		"Part":                  enginetest.RoundTrip[content.Part],
		"DocumentData":          enginetest.RoundTrip[content.Document],
	} {
		t.Run(name, func(t *testing.T) { again(t, name, instances) })
	}
}
