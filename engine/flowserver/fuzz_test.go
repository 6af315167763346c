package flowserver_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
)

// FuzzBody sends foreign bytes as a body. What the flow gets is what encoding/json
// finds in "data"; everything else is refused.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{`{"data":1}`, `{"data":{"a":[1,"}"]},"x":"\"data\""}`, `{ "d\u0061ta" : null , "data":-1.0e5 }`, `{"init":1}`, `[]`, `{`, `{}`, ``, "{\"a\":\"\xff\"}", `1`, `"data"`} {
		f.Add(seed)
	}
	srv, err := flowserver.New(flowserver.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var got json.RawMessage
		ran := false
		a, err := action.New(action.Desc{Kind: action.Flow, Name: "x"}, func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
			ran, got = true, in
			return json.RawMessage("1"), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		srv.Handler(flowserver.Flow{Action: a}).ServeHTTP(rec, req)
		var want map[string]json.RawMessage
		valid := body == "" || json.Unmarshal([]byte(body), &want) == nil && want != nil
		if !ran {
			if rec.Code == http.StatusOK {
				t.Fatalf("%q: 200 without a run", body)
			}
			return // too deep, not UTF-8, init: stricter than encoding/json
		}
		if !valid {
			t.Fatalf("%q ran and is no JSON object", body)
		}
		if string(want["data"]) != string(got) || (want["data"] == nil) != (got == nil) {
			t.Fatalf("%q: the flow got %q, want %q", body, got, want["data"])
		}
	})
}
