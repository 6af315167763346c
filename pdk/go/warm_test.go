package pdk_test

import (
	"slices"
	"strings"
	"testing"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
	"github.com/genkit-wasm/genkit-wasm/pdk/go/pdktest"
)

type step struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

var _ = pdk.Learn[step]()

// The memory of a chunk is used for the next one, after the host has taken the first.
func TestChunksOfOneCallAreTheirOwn(t *testing.T) {
	r := pdktest.Call(func() int32 {
		return pdk.Tool(func(struct{}) (string, error) {
			for i, text := range []string{"a", strings.Repeat("long", 3000), "<é>"} {
				if err := pdk.Emit(step{i, text}); err != nil {
					return "", err
				}
			}
			return "done", nil
		})
	}, `{}`, pdktest.Options{})
	want := []string{`{"n":0,"text":"a"}`, `{"n":1,"text":"` + strings.Repeat("long", 3000) + `"}`, `{"n":2,"text":"<é>"}`}
	if !slices.Equal(r.Chunks, want) || r.Output != `"done"` {
		t.Errorf("%.200q %s", r.Chunks, r.Output)
	}
}

// What is asked and answered in one call does not share memory that is written to.
func TestRequestsAndValuesOfOneCallAreTheirOwn(t *testing.T) {
	var asked [][]byte
	r := pdktest.Call(func() int32 {
		return pdk.Tool(func(struct{}) ([]step, error) {
			var all []step
			for _, key := range []string{"first", "second"} {
				var s step
				if _, err := pdk.KVGet(key, &s); err != nil {
					return nil, err
				}
				all = append(all, s)
			}
			return all, pdk.KVSet("all", all, pdk.KVOptions{})
		})
	}, `{}`, pdktest.Options{Capability: func(name string, request []byte) []byte {
		asked = append(asked, request)
		if name == "kv_set" {
			return []byte(`{"ok":null}`)
		}
		return []byte(`{"ok":{"n":` + string('0'+byte(len(asked))) + `,"text":"é\n"}}`)
	}})
	if r.Output != `[{"n":1,"text":"é\n"},{"n":2,"text":"é\n"}]` || string(asked[0]) != `{"key":"first"}` || string(asked[1]) != `{"key":"second"}` {
		t.Errorf("%s %s %q", r.Output, r.Error, asked)
	}
}

type suffix struct {
	Suffix string `json:"suffix"`
}

func shout(h *pdk.Hook[suffix]) (any, error) {
	var request pdk.ModelRequest
	if err := h.Decode(&request); err != nil {
		return nil, err
	}
	part, err := request.Messages[0].Content[0].WithText(request.Messages[0].Text() + h.Config.Suffix)
	if err != nil {
		return nil, err
	}
	request.Messages[0].Content[0] = part
	var answer pdk.ModelResponse
	err = h.Next(request, &answer)
	return answer, err
}

var _ = pdk.WarmMiddleware(shout)

func TestAWarmMiddlewareAsksAndAnswersAsOthersDo(t *testing.T) {
	const input = `{"hook":"model","model":"m","config":{"suffix":"!"},"request":{"messages":[{"role":"user","content":[{"text":"a <b>","metadata":{"x":1.50}}]}],"config":{"temperature":0.10}}}`
	var asked string
	r := pdktest.Call(func() int32 { return pdk.Middleware(shout) }, input, pdktest.Options{Capability: func(_ string, request []byte) []byte {
		asked = string(request)
		return []byte(`{"ok":{"message":{"role":"model","content":[{"text":"é"}]},"finishReason":"stop","usage":{"inputTokens":3}}}`)
	}})
	if want := `{"messages":[{"role":"user","content":[{"metadata":{"x":1.50},"text":"a <b>!"}]}],"config":{"temperature":0.10}}`; asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
	if want := `{"message":{"role":"model","content":[{"text":"é"}]},"finishReason":"stop","usage":{"inputTokens":3}}`; r.Output != want {
		t.Errorf("answered %s %s, want %s", r.Output, r.Error, want)
	}
	refused := pdktest.Call(func() int32 { return pdk.Middleware(shout) }, input, pdktest.Options{Capability: func(string, []byte) []byte {
		return []byte(`{"error":{"code":"UNAVAILABLE","message":"later"}}`)
	}})
	if !strings.Contains(refused.Error, `"UNAVAILABLE"`) || !strings.Contains(refused.Error, "later") {
		t.Errorf("failed with %s", refused.Error)
	}
}
