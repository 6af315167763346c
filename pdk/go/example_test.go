package pdk_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
	"github.com/genkit-wasm/genkit-wasm/pdk/go/pdktest"
)

type text struct {
	Text string `json:"text" description:"what to shorten"`
}

type slug struct {
	Slug string `json:"slug"`
}

func slugify(in text) (slug, error) {
	words := strings.Fields(strings.ToLower(in.Text))
	if len(words) == 0 {
		return slug{}, pdk.Errorf(pdk.InvalidArgument, "the text has no words")
	}
	return slug{strings.Join(words, "-")}, nil
}

// A module exports this function with "//go:wasmexport slugify"; a test calls it natively.
func ExampleTool() {
	export := func() int32 { return pdk.Tool(slugify) }

	r := pdktest.Call(export, `{"text":"Hello World"}`, pdktest.Options{})
	fmt.Println(r.Code, r.Output)
	r = pdktest.Call(export, `{"text":" "}`, pdktest.Options{})
	fmt.Println(r.Code, r.Error)
	// Output:
	// 0 {"slug":"hello-world"}
	// 1 {"code":"INVALID_ARGUMENT","message":"the text has no words"}
}

// A tool whose io is "text" gets and gives text as it is.
func ExampleTextTool() {
	export := func() int32 {
		return pdk.TextTool(func(s string) (string, error) { return strings.ToUpper(s), nil })
	}
	fmt.Println(pdktest.Call(export, "schön", pdktest.Options{}).Output)
	// Output: SCHÖN
}

// The descriptor of a module is the output of its export genkit_describe.
func ExampleDescribe() {
	export := func() int32 {
		return pdk.Describe(pdk.Module{Name: "texts", Version: "1.2.0", Tools: []pdk.ToolInfo{pdk.Info("slugify", "Makes a slug.", slugify)}})
	}
	fmt.Println(pdktest.Call(export, "", pdktest.Options{}).Output)
	// Output: {"abi":"genkit/1","name":"texts","version":"1.2.0","tools":[{"name":"slugify","description":"Makes a slug.","inputSchema":{"type":"object","properties":{"text":{"type":"string","description":"what to shorten"}},"required":["text"],"additionalProperties":false},"outputSchema":{"type":"object","properties":{"slug":{"type":"string"}},"required":["slug"],"additionalProperties":false}}]}
}

// A payment waits until somebody has approved it.
func ExampleInterrupt() {
	type payment struct {
		Cents int `json:"cents"`
	}
	export := func() int32 {
		return pdk.Tool(func(p payment) (string, error) {
			var approval struct {
				By string `json:"by"`
			}
			again, err := pdk.Resumed(&approval)
			if err != nil {
				return "", err
			}
			if !again {
				return "", pdk.Interrupt(map[string]int{"approve": p.Cents})
			}
			return "paid, said " + approval.By, nil
		})
	}
	answers := func(reply string) pdktest.Options {
		return pdktest.Options{Capability: func(string, []byte) []byte { return []byte(reply) }}
	}

	r := pdktest.Call(export, `{"cents":500}`, answers(`{"ok":null}`))
	fmt.Println(r.Interrupted, r.Interrupt)
	r = pdktest.Call(export, `{"cents":500}`, answers(`{"ok":{"resumed":{"by":"Ann"}}}`))
	fmt.Println(r.Interrupted, r.Output)
	// Output:
	// true {"approve":500}
	// false "paid, said Ann"
}

// A counter that is never lost when two calls count at once.
func ExampleKVSet() {
	store := map[string]string{"visits": "41"}
	host := func(name string, request []byte) []byte {
		var in struct {
			Key   string          `json:"key"`
			Value json.RawMessage `json:"value"`
			If    json.RawMessage `json:"if"`
		}
		if err := json.Unmarshal(request, &in); err != nil {
			return []byte(`{"error":{"code":"INVALID_ARGUMENT","message":"no JSON"}}`)
		}
		switch {
		case name == "kv_get":
			return []byte(`{"ok":` + store[in.Key] + `}`)
		case string(in.If) != store[in.Key]:
			return []byte(`{"error":{"code":"ABORTED","message":"another value is stored"}}`)
		}
		store[in.Key] = string(in.Value)
		return []byte(`{"ok":null}`)
	}
	export := func() int32 {
		return pdk.Tool(func(struct{}) (int, error) {
			var visits int
			if _, err := pdk.KVGet("visits", &visits); err != nil {
				return 0, err
			}
			return visits + 1, pdk.KVSet("visits", visits+1, pdk.KVOptions{Conditional: true, If: visits, TTL: time.Hour})
		})
	}
	fmt.Println(pdktest.Call(export, `{}`, pdktest.Options{Capability: host}).Output, store["visits"])
	// Output: 42 42
}

// A middleware that hides a name from the model, and puts it back into the answer.
func ExampleMiddleware() {
	type config struct {
		Name string `json:"name"`
	}
	replace := func(m *pdk.Message, old, now string) error {
		for i, p := range m.Content {
			if said, ok := p.Text(); ok {
				changed, err := p.WithText(strings.ReplaceAll(said, old, now))
				if err != nil {
					return err
				}
				m.Content[i] = changed
			}
		}
		return nil
	}
	export := func() int32 {
		return pdk.Middleware(func(h *pdk.Hook[config]) (any, error) {
			var request pdk.ModelRequest
			if err := json.Unmarshal(h.Request, &request); err != nil {
				return nil, err
			}
			for i := range request.Messages {
				if err := replace(&request.Messages[i], h.Config.Name, "[name]"); err != nil {
					return nil, err
				}
			}
			var response pdk.ModelResponse
			if err := h.Next(request, &response); err != nil {
				return nil, err
			}
			return response, replace(response.Message, "[name]", h.Config.Name)
		})
	}
	model := func(_ string, request []byte) []byte {
		fmt.Println("model:", string(request))
		return []byte(`{"ok":{"message":{"role":"model","content":[{"text":"Hello, [name]!"}]},"finishReason":"stop"}}`)
	}
	r := pdktest.Call(export, `{"hook":"model","config":{"name":"Ann"},"request":{"messages":[{"role":"user","content":[{"text":"I am Ann"}]}]}}`, pdktest.Options{Capability: model})
	fmt.Println("caller:", r.Output)
	// Output:
	// model: {"messages":[{"role":"user","content":[{"text":"I am [name]"}]}]}
	// caller: {"message":{"role":"model","content":[{"text":"Hello, Ann!"}]},"finishReason":"stop"}
}

// A format whose output is the lines of an answer, also while it streams.
func ExampleServeFormat() {
	lines := pdk.Format{
		Instructions: func(json.RawMessage) (string, error) { return "Answer with one item a line.", nil },
		Parse:        func(_ json.RawMessage, m pdk.Message) (any, error) { return strings.Split(m.Text(), "\n"), nil },
		ParseChunk: func(_ json.RawMessage, all, delta string) (any, error) {
			if !strings.Contains(delta, "\n") {
				return nil, nil // no line has ended
			}
			return strings.Split(all[:strings.LastIndex(all, "\n")], "\n"), nil
		},
	}
	for _, op := range []string{
		`{"op":"instructions"}`,
		`{"op":"parse","message":{"role":"model","content":[{"text":"a\n"},{"text":"b"}]}}`,
		`{"op":"parseChunk","text":"a\nb","delta":"b"}`,
		`{"op":"parseChunk","text":"a\nb\nc","delta":"\nc"}`,
	} {
		fmt.Println(pdktest.Call(func() int32 { return pdk.ServeFormat(lines) }, op, pdktest.Options{}).Output)
	}
	// Output:
	// "Answer with one item a line."
	// ["a","b"]
	// null
	// ["a","b"]
}
