package vertexai_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/vertexai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// Gemini and Claude of one project. The server is a fake, and so is the token: a program in
// Google's cloud has vertexai.DefaultToken(nil) there.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Println(r.URL.Path)
		fmt.Fprint(w, `{"candidates":[{"content":{"parts":[{"text":"Paris."}]},"finishReason":"STOP"}],"usageMetadata":{"totalTokenCount":9}}`)
	}))
	defer server.Close()

	p, err := vertexai.New(vertexai.Config{
		Project: "my-project", Location: "europe-west4", BaseURL: server.URL,
		Token: func(context.Context) (string, time.Time, error) { return "token", time.Now().Add(time.Hour), nil },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	reg := registry.New(nil)
	if err := reg.AddProvider(p); err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	m, err := reg.Resolve(ctx, "vertexai/gemini-2.5-flash", action.Model)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := model.From(m).Generate(ctx, &model.Request{Messages: []content.Message{content.NewUserTextMessage("What is the capital of France?")}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.Text(), resp.FinishReason, resp.Usage.TotalTokens)
	// Output:
	// /v1beta1/projects/my-project/locations/europe-west4/publishers/google/models/gemini-2.5-flash:generateContent
	// Paris. stop 9
}
