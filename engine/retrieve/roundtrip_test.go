package retrieve_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestWireTypesGiveBackWhatTheyRead makes random instances from Genkit's own schema.
// Genkit has no definition of a request to an indexer; the numbers of a vector are
// those of a float64, as in JavaScript, and not texts.
func TestWireTypesGiveBackWhatTheyRead(t *testing.T) {
	const instances = 300
	for name, again := range map[string]func(t *testing.T, definition string, n int){
		"RetrieverRequest":   enginetest.RoundTrip[retrieve.Request],
		"RetrieverResponse":  enginetest.RoundTrip[retrieve.Response],
		"RerankerRequest":    enginetest.RoundTrip[retrieve.RerankRequest],
		"RerankerResponse":   enginetest.RoundTrip[retrieve.RerankResponse],
		"RankedDocumentData": enginetest.RoundTrip[content.Document],
		"EmbedRequest":       enginetest.RoundTrip[embed.Request],
	} {
		t.Run(name, func(t *testing.T) { again(t, name, instances) })
	}
}
