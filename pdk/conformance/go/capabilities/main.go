//go:build wasip1

// Command capabilities is the capabilities module in Go: what ../../../vectors/capabilities
// talks to, written with the Go PDK. A reply that went through it has the same value.
package main

import (
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
)

func main() {}

type object = map[string]any

// reply encodes the host's answer again, from the values that the PDK decoded.
func reply(value any, err error) (object, error) {
	var e *pdk.Error
	if errors.As(err, &e) {
		return object{"error": object{"code": e.Code, "message": e.Message}}, nil
	}
	return object{"ok": value}, err
}

//go:wasmexport http
func exportHTTP() int32 {
	return pdk.Tool(func(in struct {
		Method  string            `json:"method"`
		URL     string            `json:"url"`
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
	},
	) (object, error) {
		resp, err := pdk.HTTP(pdk.HTTPRequest{Method: in.Method, URL: in.URL, Headers: in.Headers, Body: []byte(in.Body)})
		if err != nil {
			return reply(nil, err)
		}
		if !utf8.Valid(resp.Body) {
			return reply(object{"status": resp.Status, "headers": resp.Headers, "bodyBase64": resp.Body}, nil)
		}
		return reply(object{"status": resp.Status, "headers": resp.Headers, "body": string(resp.Body)}, nil)
	})
}

type key struct {
	Key string `json:"key"`
}

//go:wasmexport kv_get
func exportKVGet() int32 {
	return pdk.Tool(func(in key) (object, error) {
		var v json.RawMessage
		found, err := pdk.KVGet(in.Key, &v)
		if !found {
			return reply(nil, err)
		}
		return reply(v, err)
	})
}

//go:wasmexport kv_set
func exportKVSet() int32 {
	return pdk.Tool(func(in map[string]json.RawMessage) (object, error) {
		var name string
		if err := json.Unmarshal(in["key"], &name); err != nil {
			return nil, err
		}
		var o pdk.KVOptions
		if cond, ok := in["if"]; ok {
			o.Conditional, o.If = true, cond
		}
		if ttl, ok := in["ttlSeconds"]; ok {
			var seconds int64
			if err := json.Unmarshal(ttl, &seconds); err != nil {
				return nil, err
			}
			o.TTL = time.Duration(seconds) * time.Second
		}
		return reply(nil, pdk.KVSet(name, in["value"], o))
	})
}

//go:wasmexport kv_delete
func exportKVDelete() int32 {
	return pdk.Tool(func(in key) (object, error) { return reply(nil, pdk.KVDelete(in.Key)) })
}

//go:wasmexport kv_list
func exportKVList() int32 {
	return pdk.Tool(func(in struct {
		Prefix string `json:"prefix"`
		Cursor string `json:"cursor"`
		Limit  int    `json:"limit"`
	},
	) (object, error) {
		keys, next, err := pdk.KVList(in.Prefix, in.Cursor, in.Limit)
		page := object{"keys": keys}
		if next != "" {
			page["cursor"] = next
		}
		return reply(page, err)
	})
}

//go:wasmexport now
func exportNow() int32 {
	return pdk.Tool(func(json.RawMessage) (object, error) {
		t, err := pdk.Now()
		return reply(t, err)
	})
}

//go:wasmexport run
func exportRun() int32 {
	return pdk.Tool(func(in struct {
		Key   string          `json:"key"`
		Input json.RawMessage `json:"input"`
	},
	) (object, error) {
		var out json.RawMessage
		err := pdk.Run(in.Key, in.Input, &out)
		return reply(out, err)
	})
}

//go:wasmexport generate
func exportGenerate() int32 {
	return pdk.Tool(func(in json.RawMessage) (object, error) {
		var out json.RawMessage
		err := pdk.Generate(in, &out)
		return reply(out, err)
	})
}

//go:wasmexport genkit_describe
func describe() int32 {
	m := pdk.Module{Name: "capabilities", Version: "1.0.0", Description: "One tool for each capability."}
	for _, name := range []string{"http", "kv_get", "kv_set", "kv_delete", "kv_list", "now", "run", "generate"} {
		m.Tools = append(m.Tools, pdk.ToolInfo{Name: name, Description: "The capability of its name."})
	}
	return pdk.Describe(m)
}
