package models

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// recorder answers every request with one body and keeps what it was asked last.
type recorder struct {
	*httptest.Server
	contentType, answer string
	path, asked         string
	last                *http.Request
}

func record(t *testing.T, contentType, answer string) *recorder {
	t.Helper()
	r := &recorder{contentType: contentType, answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.path, r.asked, r.last = req.URL.Path, string(body), req
		w.Header().Set("Content-Type", r.contentType)
		_, _ = io.WriteString(w, r.answer)
	}))
	t.Cleanup(r.Close)
	return r
}

// same compares two JSON texts, numbers as JavaScript reads them.
func same(t *testing.T, what, ours, theirs string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(ours), &a); err != nil {
		t.Fatalf("%s: ours %q: %v", what, ours, err)
	}
	if err := json.Unmarshal([]byte(theirs), &b); err != nil {
		t.Fatalf("%s: theirs %q: %v", what, theirs, err)
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	if !bytes.Equal(x, y) {
		t.Errorf("%s:\nours   %s\ntheirs %s", what, x, y)
	}
}

// say runs a model, streaming.
func say(t *testing.T, a action.Action, request string) *model.Response {
	t.Helper()
	out, err := a.RunJSON(t.Context(), json.RawMessage(request), func(json.RawMessage) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	resp := &model.Response{}
	if err := json.Unmarshal(out, resp); err != nil {
		t.Fatal(err)
	}
	return resp
}
