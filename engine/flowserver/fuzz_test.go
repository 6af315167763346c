package flowserver_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
)

// FuzzBody sends foreign bytes as a body. The flow gets the value that encoding/json
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

// FuzzFrame streams foreign JSON back. The frame is one line of ASCII that holds the
// same value, whatever lines and characters it is made of.
func FuzzFrame(f *testing.F) {
	for _, seed := range []string{`"é😀\u00e9\\"`, "{\n\"\u2028\": [1.10,\r\n1e400]}", `null`, `"data: {\"result\":1}\n\n"`, "\"\uFFFD\u007f\""} {
		f.Add(seed)
	}
	srv, err := flowserver.New(flowserver.Config{})
	if err != nil {
		f.Fatal(err)
	}
	echo, err := action.New(action.Desc{Kind: action.Flow, Name: "x"}, func(_ context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
		return in, emit(in)
	})
	if err != nil {
		f.Fatal(err)
	}
	h := srv.Handler(flowserver.Flow{Action: echo})
	f.Fuzz(func(t *testing.T, data string) {
		req := httptest.NewRequest(http.MethodPost, "/?stream=true", strings.NewReader(`{"data":`+data+`}`))
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code != http.StatusOK {
			return // not JSON, or two members in disguise
		}
		want, err := decoded(`{"data":` + data + `}`)
		if err != nil {
			t.Fatalf("%q ran: %v", data, err)
		}
		frames := strings.Split(rec.Body.String(), "\n\n")
		if len(frames) != 3 || frames[2] != "" {
			t.Fatalf("%q: frames %q", data, frames)
		}
		for i, member := range []string{"message", "result"} {
			line, ok := strings.CutPrefix(frames[i], "data: ")
			if !ok || strings.ContainsFunc(line, func(r rune) bool { return r == '\n' || r == '\r' || r >= 0x80 }) {
				t.Fatalf("%q: frame %q", data, frames[i])
			}
			got, err := decoded(line)
			if err != nil || len(got) != 1 || !reflect.DeepEqual(got[member], want["data"]) {
				t.Fatalf("%q: %v in %q, want %v; %v", data, got, line, want["data"], err)
			}
		}
	})
}

func decoded(text string) (v map[string]any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}
