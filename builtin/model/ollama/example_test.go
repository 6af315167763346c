package ollama_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/ollama"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// Every model of an Ollama server is available by name. This one is a fake that answers with two
// lines of a stream.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		fmt.Fprintln(w, `{"message":{"role":"assistant","content":"Par"},"done":false}`)
		fmt.Fprintln(w, `{"message":{"role":"assistant","content":"is."},"done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":2}`)
	}))
	defer server.Close()

	p, err := ollama.New(ollama.Config{BaseURL: server.URL})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	reg := registry.New(nil)
	if err := reg.AddProvider(p); err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	m, err := reg.Resolve(ctx, "ollama/llama3.2", action.Model)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := model.From(m).Generate(ctx, &model.Request{
		Messages: []content.Message{content.NewUserTextMessage("What is the capital of France?")},
		Config:   []byte(`{"temperature": 0, "numCtx": 4096}`),
	}, func(chunk *model.Chunk) error {
		fmt.Println(chunk.Text())
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.Text(), resp.FinishReason, resp.Usage.TotalTokens)
	// Output:
	// Par
	// is.
	// Paris. stop 9
}
