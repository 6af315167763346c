package openai_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// A provider of a compatible server makes every model of it available by name.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"choices":[{"message":{"content":"Paris."},"finish_reason":"stop"}],"usage":{"total_tokens":9}}`)
	}))
	defer server.Close()

	p, err := openai.New(openai.Config{Name: "local", BaseURL: server.URL, MaxTokensKey: "max_tokens"})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	reg := registry.New(nil)
	if err := reg.AddProvider(p); err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	m, err := reg.Resolve(ctx, "local/any-model", action.Model)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := model.From(m).Generate(ctx, &model.Request{
		Messages: []content.Message{content.NewUserTextMessage("What is the capital of France?")},
		Config:   []byte(`{"temperature": 0, "maxOutputTokens": 20}`),
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.Text(), resp.FinishReason, resp.Usage.TotalTokens)
	// Output: Paris. stop 9
}
