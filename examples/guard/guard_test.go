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
