package flowserver_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
)

func ExampleServer_Handler() {
	greet, err := flow.New("greet", func(_ context.Context, name string) (string, error) { return "Hello, " + name, nil })
	if err != nil {
		fmt.Println(err)
		return
	}
	srv, err := flowserver.New(flowserver.Config{Context: []contextprovider.Provider{contextprovider.APIKey("s3cret")}})
	if err != nil {
		fmt.Println(err)
		return
	}
	h := srv.Handler(flowserver.Flow{Action: greet})
	for _, key := range []string{"s3cret", ""} {
		req := httptest.NewRequest(http.MethodPost, "/greet", strings.NewReader(`{"data":"Ada"}`))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", key)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		fmt.Print(rec.Code, " ", rec.Body)
	}
	// Output:
	// 200 {"result":"Hello, Ada"}
	// 401 {"status":"UNAUTHENTICATED","message":"Unauthenticated"}
}
