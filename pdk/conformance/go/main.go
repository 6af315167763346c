//go:build wasip1

// Command conformance is the conformance module in Go: the tools that the vectors
// in ../../vectors run, written with the Go PDK as far as it lets one misbehave.
package main

import (
	"encoding/json"
	"errors"
	"strings"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
)

func main() {}

// object is the form of the few results that are written out by hand.
type object = map[string]any

func echo(in json.RawMessage) (json.RawMessage, error) { return in, nil }

//go:wasmexport echo
func exportEcho() int32 {
	pdk.Output(pdk.Input()) // not by way of Tool, which would compact it
	return 0
}

//go:wasmexport upper
func exportUpper() int32 {
	return pdk.TextTool(func(s string) (string, error) {
		return strings.Map(func(r rune) rune {
			if 'a' <= r && r <= 'z' {
				r -= 'a' - 'A'
			}
			return r
		}, s), nil
	})
}

//go:wasmexport textjson
func exportTextJSON() int32 {
	return pdk.TextTool(func(s string) (string, error) { return s, nil })
}

//go:wasmexport fail
func exportFail() int32 {
	return pdk.Fail(&pdk.Error{Code: pdk.NotFound, Message: `no such thing: "x"`, Details: object{"id": 42}})
}

//go:wasmexport failtext
func exportFailText() int32 { return pdk.Fail(errors.New("it did not work")) }

//go:wasmexport nonzero
func exportNonzero() int32 { return 7 }

//go:wasmexport silent
func exportSilent() int32 { return 0 }

//go:wasmexport replace
func exportReplace() int32 {
	pdk.Output([]byte(`{"first":`))
	pdk.Output([]byte(`"second"`))
	return 0
}

//go:wasmexport badoutput
func exportBadOutput() int32 {
	pdk.Output([]byte(`{"unfinished":`))
	return 0
}

//go:wasmexport invalidutf8
func exportInvalidUTF8() int32 {
	pdk.Output([]byte("\"\xff\xfe\""))
	return 0
}

//go:wasmexport wrongshape
func exportWrongShape() int32 {
	pdk.Output([]byte(`"not an integer"`))
	return 0
}

//go:wasmexport emit3
func exportEmit3() int32 {
	return pdk.Tool(func(json.RawMessage) (object, error) {
		for _, chunk := range []any{object{"n": 1}, object{"n": 2}, "drei é"} {
			if err := pdk.Emit(chunk); err != nil {
				return nil, err
			}
		}
		return object{"chunks": 3}, nil
	})
}

//go:wasmexport badchunk
func exportBadChunk() int32 {
	pdk.Output(rawEmit([]byte(`{"n":`)))
	return 0
}

//go:wasmexport interrupt
func exportInterrupt() int32 {
	code := pdk.Tool(func(in json.RawMessage) (any, error) { return nil, pdk.Interrupt(in) })
	pdk.Output([]byte(`"nobody sees this"`))
	return code
}

//go:wasmexport interrupt_fail
func exportInterruptFail() int32 {
	_ = pdk.Interrupt(object{"reason": "ask"})
	return pdk.Fail(errors.New("nobody sees this"))
}

//go:wasmexport interrupt_trap
func exportInterruptTrap() int32 {
	_ = pdk.Interrupt(nil)
	panic("a trap") // not inside Tool, which would recover
}

//go:wasmexport context
func exportContext() int32 {
	return pdk.Tool(func(json.RawMessage) (v json.RawMessage, err error) {
		err = pdk.Context(&v)
		return v, err
	})
}

//go:wasmexport log
func exportLog() int32 {
	pdk.Log(pdk.LevelTrace, "a trace line")
	pdk.Log(pdk.LevelDebug, "a debug line")
	pdk.Log(pdk.LevelInfo, "an info line: é")
	pdk.Log(pdk.LevelWarn, "a warn line")
	pdk.Log(pdk.LevelError, "an error line")
	pdk.Output([]byte(`{"lines":5}`))
	return 0
}

var count int

//go:wasmexport counter
func exportCounter() int32 {
	return pdk.Tool(func(json.RawMessage) (object, error) {
		count++
		if count != 1 {
			return nil, pdk.Errorf(pdk.FailedPrecondition, "state of an earlier call was seen")
		}
		return object{"count": count}, nil
	})
}

//go:wasmexport trap
func exportTrap() int32 { panic("a trap") }

//go:wasmexport oob
func exportOOB() int32 {
	rawOutput(0xfffffff0, 0x20)
	return 0
}

//go:wasmexport spin
func exportSpin() int32 {
	for {
		count++
	}
}

var kept [][]byte

//go:wasmexport hog
func exportHog() int32 {
	for {
		b := make([]byte, 1<<16)
		b[0], b[len(b)-1] = 1, 1
		kept = append(kept, b)
	}
}

type size struct {
	Size int `json:"size" minimum:"2" maximum:"67108864"`
}

func big(in size) (string, error) { return strings.Repeat("x", in.Size-2), nil }

//go:wasmexport big
func exportBig() int32 { return pdk.Tool(big) }

//go:wasmexport genkit_describe
func describe() int32 {
	plain := func(name, description string) pdk.ToolInfo {
		return pdk.ToolInfo{Name: name, Description: description}
	}
	textJSON := pdk.TextInfo("textjson", "Returns its text unchanged; text that is a JSON object comes back as that object.")
	textJSON.OutputSchema = json.RawMessage(`{"type":["object","string"]}`)
	wrongShape := plain("wrongshape", "Writes an output that breaks its schema.")
	wrongShape.OutputSchema = json.RawMessage(`{"type":"integer"}`)
	interrupt := plain("interrupt", "Interrupts with its input as metadata, then sets an output that nobody sees.")
	interrupt.InputSchema = json.RawMessage(`{"type":["object","null"]}`)
	return pdk.Describe(pdk.Module{
		Name:        "conformance",
		Version:     "1.0.0",
		Description: "One tool for each rule of the module contract; see the vectors.",
		Tools: []pdk.ToolInfo{
			pdk.Info("echo", "Returns its input.", echo),
			pdk.TextInfo("upper", "Returns its text with the ASCII letters in upper case."),
			textJSON,
			plain("fail", "Fails with NOT_FOUND and details."),
			plain("failtext", "Fails with a plain text."),
			plain("nonzero", "Returns 7 and says nothing."),
			plain("silent", "Succeeds without an output."),
			plain("replace", "Sets its output twice; the second one counts."),
			plain("badoutput", "Writes an output that is no JSON."),
			plain("invalidutf8", "Writes a JSON string that is no UTF-8."),
			wrongShape,
			plain("emit3", "Streams three chunks, then returns a result."),
			plain("badchunk", "Streams a chunk that is no JSON and returns the host's reply."),
			interrupt,
			plain("interrupt_fail", "Interrupts, then returns a failure that nobody sees."),
			plain("interrupt_trap", "Interrupts, then traps: the trap counts."),
			plain("context", "Returns the caller's context."),
			plain("log", "Logs one line at each level."),
			plain("counter", "Adds one to a global and returns it: always 1 where every call has fresh state."),
			plain("trap", "Traps."),
			plain("oob", "Gives the host an output outside its memory."),
			plain("spin", "Never returns."),
			plain("hog", "Takes memory until there is none."),
			pdk.Info("big", "Returns a JSON string of the asked size in bytes, quotes included.", big),
		},
	})
}
