package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/pdk/go/pdktest"
)

func TestAddressesAreHiddenFromTheModelAlone(t *testing.T) {
	var asked string
	r := pdktest.Call(exportRedact, `{"hook":"model","model":"m","config":{"words":["Ada"]},"request":{"messages":[
		{"role":"system","content":[{"text":"Write to ops@example.com."}]},
		{"role":"user","content":[{"text":"I am Ada, ada@example.com or a@b.example"}]}],"config":{"temperature":0.50}}}`, pdktest.Options{
		Capability: func(name string, request []byte) []byte {
			if name != "next" {
				t.Errorf("capability %s", name)
			}
			asked = string(request)
			return []byte(`{"ok":{"message":{"role":"model","content":[{"text":"Dear [hidden-3], I write to [hidden-1]."}]},"finishReason":"stop"}}`)
		},
	})
	if r.Code != 0 {
		t.Fatalf("failed: %s", r.Error)
	}
	if strings.Contains(asked, "ada@") || strings.Contains(asked, "a@b") || !strings.Contains(asked, "ops@example.com") || !strings.Contains(asked, "0.50") {
		t.Errorf("the model was asked %s", asked)
	}
	if !strings.Contains(r.Output, "Dear Ada, I write to ada@example.com.") {
		t.Errorf("the answer is %s", r.Output)
	}
}

func TestCSVIsRead(t *testing.T) {
	for text, want := range map[string]string{
		"city,river\nParis,Seine": `[{"city":"Paris","river":"Seine"}]`,
		"```csv\na\n1\n```":       `[{"a":"1"}]`,
		"":                        `[]`,
	} {
		quoted, _ := json.Marshal(text)
		r := pdktest.Call(exportCSV, `{"op":"parse","schema":null,"message":{"role":"model","content":[{"text":`+string(quoted)+`}]}}`, pdktest.Options{})
		if r.Code != 0 || r.Output != want {
			t.Errorf("%q: %d %s %s, want %s", text, r.Code, r.Error, r.Output, want)
		}
	}
	r := pdktest.Call(exportCSV, `{"op":"parse","message":{"content":[{"text":"a,b\n1"}]}}`, pdktest.Options{})
	if r.Code == 0 || !strings.Contains(r.Error, "INVALID_ARGUMENT") {
		t.Errorf("a short line: %d %s", r.Code, r.Error)
	}
}

func TestTheOtherPartsOfThePlugin(t *testing.T) {
	for name, c := range map[string]struct {
		run                 func() int32
		input, output, fail string
	}{
		"find":         {exportFind, `{"text":"to a@b.example and c@d.example"}`, `{"addresses":["a@b.example","c@d.example"]}`, ""},
		"nothing":      {exportFind, `{"text":"to nobody"}`, `{"addresses":[]}`, ""},
		"a leak":       {exportLeaks, `{"dataset":[{"testCaseId":"1","output":"ask a@b.example"}]}`, `[{"testCaseId":"1","evaluation":[{"score":false,"status":"FAIL","details":{"reasoning":"it tells an address at b.example"}}]}]`, ""},
		"an allowed":   {exportLeaks, `{"dataset":[{"testCaseId":"1","output":{"to":"a@b.example"}}],"options":{"domains":["B.example"]}}`, `[{"testCaseId":"1","evaluation":[{"score":true,"status":"PASS"}]}]`, ""},
		"a rule":       {exportRule, `{"uri":"wasm://guard/rules/words","variables":{"name":"words"}}`, `{"content":[{"text":"The words in the config are replaced as addresses are."}]}`, ""},
		"another rule": {exportRule, `{"uri":"wasm://guard/rules/x","variables":{"name":"x"}}`, "", "NOT_FOUND"},
	} {
		r := pdktest.Call(c.run, c.input, pdktest.Options{})
		if r.Output != c.output || !strings.Contains(r.Error, c.fail) {
			t.Errorf("%s: %d %s %s, want %s %s", name, r.Code, r.Output, r.Error, c.output, c.fail)
		}
	}
}

// Two texts that differ in their addresses alone have the same vector.
func TestVectorsTellNoAddress(t *testing.T) {
	vectors := map[string]bool{}
	for _, mail := range []string{"a@b.example", "someone@else.example"} {
		r := pdktest.Call(exportWords, `{"input":[{"content":[{"text":"Write to `+mail+`, please"}]}]}`, pdktest.Options{})
		vectors[r.Output] = true
	}
	r := pdktest.Call(exportWords, `{"input":[{"content":[{"text":"something else"}]}]}`, pdktest.Options{})
	if len(vectors) != 1 || vectors[r.Output] {
		t.Errorf("vectors: %v, and of another text %s", vectors, r.Output)
	}
}
