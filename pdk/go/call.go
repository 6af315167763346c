package pdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/host"
)

// Input returns a copy of the call's input: the raw JSON value, or the text of
// a tool whose io is "text".
func Input() []byte { return host.Input() }

// Output sets the call's output: a JSON value, or text where the tool's io is
// "text". The bytes are copied before Output returns; a later call replaces an
// earlier one.
func Output(b []byte) { host.Output(b) }

// Fail sets the call's error and returns the value that the exported function
// has to return with it. See [Error] for the part of err that the caller sees.
func Fail(err error) int32 {
	host.Error(encodeError(err))
	return 1
}

// Tool runs fn on the call's JSON input and sets its result as the output. It is
// the whole body of an exported function:
//
//	//go:wasmexport slugify
//	func slugify() int32 { return pdk.Tool(slug) }
//
// An input that does not decode into In fails with INVALID_ARGUMENT (the host
// has checked it against the tool's schema before), an error or a panic of fn
// fails the call. The value that [Interrupt] returns ends the call as interrupted.
func Tool[In, Out any](fn func(In) (Out, error)) int32 {
	return run(func() ([]byte, error) {
		var in In
		if err := json.Unmarshal(host.Input(), &in); err != nil {
			return nil, &Error{Code: InvalidArgument, Message: "decode input: " + err.Error()}
		}
		out, err := fn(in)
		if err != nil {
			return nil, err
		}
		return encode(out)
	})
}

// Warm does once, while the module initialises, what encoding/json would do on a
// tool's first call: it learns the types In and Out. Every call starts from the state
// after initialisation, so without it every call pays (about 0.3 ms). It does not run
// the tool. Call it at package level:
//
//	var _ = pdk.Warm(slugify)
func Warm[In, Out any](_ func(In) (Out, error)) struct{} {
	var in In
	var out Out
	_ = json.Unmarshal([]byte("{}"), &in) // an In that is no object learns as well, and fails
	_, _ = encode(out)
	return struct{}{}
}

// TextTool is [Tool] for a tool whose io is "text".
func TextTool(fn func(string) (string, error)) int32 {
	return run(func() ([]byte, error) {
		out, err := fn(string(host.Input()))
		return []byte(out), err
	})
}

func run(body func() ([]byte, error)) (code int32) {
	defer func() {
		if r := recover(); r != nil {
			code = Fail(&Error{Code: Internal, Message: fmt.Sprintf("panic: %v", r)})
		}
	}()
	out, err := body()
	if errors.Is(err, errInterrupted) {
		return 0
	}
	if err != nil {
		return Fail(err)
	}
	host.Output(out)
	return 0
}

// encode is json.Marshal without the escaping of <, > and &.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
