package pdk

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/codec"
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
		if err := codec.Decode(host.Input(), &in); err != nil {
			return nil, &Error{Code: InvalidArgument, Message: "decode input: " + err.Error()}
		}
		out, err := fn(in)
		if err != nil {
			return nil, err
		}
		return codec.Encode(&out)
	})
}

// Warm does once, while the module initialises, what a tool's first call would otherwise do. It learns the types In and Out: with
// the tables that it makes of them a call reads and writes JSON several times as fast as encoding/json does inside WebAssembly, with
// the same results and errors. Every call starts from the state after initialisation, so whatever is not done there every call
// pays for (without Warm about 0.3 ms), and has the heap grow by 2 MiB, so that a call can allocate that much without growing the
// memory. It does not run the tool. Call it at package level:
//
//	var _ = pdk.Warm(slugify)
func Warm[In, Out any](_ func(In) (Out, error)) struct{} {
	makeRoom()
	codec.Learn[In]()
	codec.Learn[Out]()
	var in In
	var out Out
	_ = json.Unmarshal([]byte("{}"), &in) // an In that is no object learns as well, and fails
	_, _ = encode(out)
	in = *new(In)
	attempt(func() ([]byte, error) {
		text, err := codec.Encode(&in)
		if err != nil {
			return nil, err
		}
		var again In
		if err := codec.Decode(text, &again); err != nil {
			return nil, err
		}
		return codec.Encode(&out)
	})
	codec.Ready() // the lines above have used its room
	return struct{}{}
}

// Learn learns a type that is emitted, kept under a key, or given to and by the functions for capabilities and hooks, as [Warm] does
// for a tool's types. Without it they are read and written by encoding/json. At package level:
//
//	var _ = pdk.Learn[Progress]()
func Learn[T any]() struct{} { return codec.Learn[T]() }

// TextTool is [Tool] for a tool whose io is "text".
func TextTool(fn func(string) (string, error)) int32 {
	return run(func() ([]byte, error) {
		out, err := fn(string(host.Input()))
		return []byte(out), err
	})
}

func run(body func() ([]byte, error)) int32 {
	r := attempt(body)
	switch {
	case r.failure != nil:
		host.Error(r.failure)
		return 1
	case !r.interrupted:
		host.Output(r.output)
	}
	return 0
}

// result is how a call ends, before the host knows.
type result struct {
	output, failure []byte // failure is not nil for one that failed
	interrupted     bool
}

func attempt(body func() ([]byte, error)) (r result) {
	defer func() {
		if p := recover(); p != nil {
			r = result{failure: encodeError(&Error{Code: Internal, Message: fmt.Sprintf("panic: %v", p)})}
		}
	}()
	out, err := body()
	switch {
	case err == nil:
		return result{output: out}
	case errors.Is(err, errInterrupted):
		return result{interrupted: true}
	default:
		return result{failure: encodeError(err)}
	}
}

// encode is json.Marshal without the escaping of <, > and &.
func encode(v any) ([]byte, error) { return codec.Standard(v) }
