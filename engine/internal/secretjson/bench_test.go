package secretjson_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/internal/secretjson"
)

// BenchmarkHide takes what a span does for each recorded body: ordinary requests of 20 KB,
// with a config, with a key in it, and without.
func BenchmarkHide(b *testing.B) {
	var messages []string
	for i := range 100 {
		messages = append(messages, fmt.Sprintf(`{"role":"user","content":[{"text":"What is the weather like in the %dth of these towns? \"Fine\", he says, and goes on with his configuration of the options. Then come the \u00e9t\u00e9 and others."}]}`, i))
	}
	text := `"messages":[` + strings.Join(messages, ",") + `]`
	plain := strings.ReplaceAll(text, `\u00e9`, "é")
	for name, body := range map[string]string{
		"none":     `{` + plain + `}`,
		"escapes":  `{` + text + `}`,
		"config":   `{` + plain + `,"config":{"temperature":0.5,"stopSequences":["a","b"],"safety":[{"name":"x","value":"y"}]}}`,
		"key":      `{` + plain + `,"config":{"temperature":0.5,"apiKey":"sk"}}`,
		"response": `{"message":{"role":"model","content":[{"text":"It is fine."}]},"request":{` + plain + `,"config":{"temperature":0.5}}}`,
	} {
		b.Run(name, func(b *testing.B) {
			raw := json.RawMessage(body)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				secretjson.Hide(raw)
			}
		})
	}
}
