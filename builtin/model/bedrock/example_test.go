package bedrock_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/bedrock"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// A model by the id of an inference profile. The server is a fake; a program with credentials of
// AWS has Credentials: bedrock.DefaultCredentials, and no BaseURL.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Println(r.URL.Path)
		fmt.Fprint(w, `{"output":{"message":{"role":"assistant","content":[{"text":"Paris."}]}},"stopReason":"end_turn","usage":{"inputTokens":7,"outputTokens":2,"totalTokens":9}}`)
	}))
	defer server.Close()

	p, err := bedrock.New(bedrock.Config{Region: "eu-central-1", BaseURL: server.URL, APIKey: "bedrock-api-key"})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	reg := registry.New(nil)
	if err := reg.AddProvider(p); err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	m, err := reg.Resolve(ctx, "bedrock/eu.amazon.nova-pro-v1:0", action.Model)
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
	// Output:
	// /model/eu.amazon.nova-pro-v1:0/converse
	// Paris. stop 9
}
