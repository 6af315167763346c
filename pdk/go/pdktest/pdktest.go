//go:build !wasip1

// Package pdktest calls a tool natively, with a host that remembers what the tool
// did, so that a tool is tested with plain "go test":
//
//	r := pdktest.Call(slugify, `{"text":"Hello"}`, pdktest.Options{})
//	// r.Output is {"slug":"hello"}
//
// It doesn't check inputs and outputs against schemas, as the real host does, and
// state is kept between calls. Calls must not run at the same time.
package pdktest

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/host"
)

// Options describes the host that the tool finds. The zero value is a call without context.
type Options struct {
	Context json.RawMessage // the caller's context, a JSON object
	// Capability stands in for the host's http, kv_get, …: it gets the name and
	// the request, and returns the reply, {"ok": …} or {"error": …}. nil refuses
	// everything.
	Capability func(name string, request []byte) (reply []byte)
}

// Result is the outcome of the call.
type Result struct {
	Code        int32  // the result of the exported function
	Output      string // the last output, "" when none was set
	Error       string // the last error: plain text or {"code","message","details"}
	Chunks      []string
	Logs        []Line
	Interrupted bool
	Interrupt   string // the metadata of the interrupt
}

// Line is one log line.
type Line struct {
	Level   int32
	Message string
}

// Call runs an exported function on input.
func Call(tool func() int32, input string, o Options) Result {
	var r Result
	f := &host.Fake{
		In:    []byte(input),
		OnLog: func(level int32, line []byte) { r.Logs = append(r.Logs, Line{level, string(line)}) },
		OnEmit: func(request []byte) []byte {
			if !json.Valid(request) {
				return []byte(`{"error":{"code":"INVALID_ARGUMENT","message":"emit: the request is not JSON"}}`)
			}
			r.Chunks = append(r.Chunks, string(request))
			return []byte(`{"ok":null}`)
		},
		OnInterrupt: func(request []byte) []byte {
			var object map[string]json.RawMessage
			if json.Unmarshal(request, &object) != nil {
				return []byte(`{"error":{"code":"INVALID_ARGUMENT","message":"interrupt: the metadata must be an object or null"}}`)
			}
			r.Interrupted, r.Interrupt = true, string(request)
			return []byte(`{"ok":null}`)
		},
		OnCall: o.Capability,
		OnContext: func() []byte {
			if len(o.Context) == 0 {
				return []byte(`{"ok":{}}`)
			}
			return append(append([]byte(`{"ok":`), o.Context...), '}')
		},
	}
	defer host.Use(host.Use(f))
	r.Code = tool()
	r.Output, r.Error = string(f.Out), string(f.Err)
	return r
}
