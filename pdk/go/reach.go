package pdk

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/codec"
	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/host"
)

// HTTPRequest is a request to a host that the module's policy grants.
type HTTPRequest struct {
	Method  string            `json:"method,omitempty"` // GET when empty
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"` // "{{secret:NAME}}" is replaced by a secret
	Body    []byte            `json:"-"`
}

// HTTPResponse is the answer to an HTTP request; names of headers are in lower case.
type HTTPResponse struct {
	Status  int
	Headers map[string]string
	Body    []byte
}

// HTTP sends a request and follows its redirects. An answer of any status is no error.
func HTTP(r HTTPRequest) (*HTTPResponse, error) {
	request := struct {
		HTTPRequest
		Body64 string `json:"bodyBase64,omitempty"`
	}{r, base64.StdEncoding.EncodeToString(r.Body)}
	var reply struct {
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
		Body64  []byte            `json:"bodyBase64"`
	}
	if err := call(host.HTTP, request, &reply); err != nil {
		return nil, err
	}
	resp := &HTTPResponse{Status: reply.Status, Headers: reply.Headers, Body: reply.Body64}
	if resp.Body == nil {
		resp.Body = []byte(reply.Body)
	}
	return resp, nil
}

// KVGet decodes the value of a key into v and reports whether there is one.
func KVGet(key string, v any) (bool, error) {
	var raw json.RawMessage
	if err := call(host.KVGet, map[string]string{"key": key}, &raw); err != nil || string(raw) == "null" {
		return false, err
	}
	return true, json.Unmarshal(raw, v)
}

// KVOptions say how a value is kept. The zero value keeps it for ever.
type KVOptions struct {
	TTL time.Duration // in whole seconds
	// If, when Conditional is set, is the value that must be stored now: nil for none.
	// Otherwise KVSet fails with ABORTED.
	If          any
	Conditional bool
}

// KVSet keeps v, encoded as JSON, under a key; nil removes it.
func KVSet(key string, v any, o KVOptions) error {
	request := map[string]any{"key": key, "value": v}
	if o.TTL > 0 {
		request["ttlSeconds"] = int64((o.TTL + time.Second - 1) / time.Second)
	}
	if o.Conditional {
		request["if"] = o.If
	}
	return call(host.KVSet, request, nil)
}

// KVDelete removes a key.
func KVDelete(key string) error { return call(host.KVDelete, map[string]string{"key": key}, nil) }

// KVList returns keys that begin with prefix, a page at a time: cursor is "" for the
// first, and next is "" after the last.
func KVList(prefix, cursor string, limit int) (keys []string, next string, err error) {
	request := map[string]any{"prefix": prefix, "cursor": cursor}
	if limit > 0 {
		request["limit"] = limit
	}
	var page struct {
		Keys   []string `json:"keys"`
		Cursor string   `json:"cursor"`
	}
	err = call(host.KVList, request, &page)
	return page.Keys, page.Cursor, err
}

// Now tells the time. time.Now stands still, unless the clock is granted.
func Now() (time.Time, error) {
	var t time.Time
	err := call(host.Now, nil, &t)
	return t, err
}

// Run runs an action by its key, such as "/tool/calc/add", and decodes its output.
func Run(key string, input, output any) error {
	return call(host.Run, map[string]any{"key": key, "input": input}, output)
}

// Generate asks a model: options are Genkit's GenerateActionOptions, response its
// GenerateResponse.
func Generate(options, response any) error { return call(host.Generate, options, response) }

// call asks the host. Each function above names its own capability, so that a module
// imports only those that it uses.
func call(capability func([]byte) []byte, request, v any) error {
	b, err := codec.Any(request)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	reply := capability(b)
	codec.Release(b)
	return decodeReply(reply, v)
}
