//go:build wasip1

// A guest whose middleware and format do what their config, or the schema asked of
// them, says. Tests build it from this one file.
package main

import (
	"encoding/json"
	"strings"
	"unsafe"
)

//go:wasmimport genkit_v1 input_len
func inputLen() uint32

//go:wasmimport genkit_v1 input
func input(ptr unsafe.Pointer)

//go:wasmimport genkit_v1 output
func output(ptr unsafe.Pointer, n uint32)

//go:wasmimport genkit_v1 error
func setError(ptr unsafe.Pointer, n uint32)

//go:wasmimport genkit_v1 reply
func reply(ptr unsafe.Pointer)

//go:wasmimport genkit_v1 next
func next(ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport genkit_v1 emit
func emit(ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport genkit_v1 interrupt
func interrupt(ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport genkit_v1 resumed
func resumed(ptr unsafe.Pointer, n uint32) uint32

type step struct {
	Next      json.RawMessage   // a request, or null for the one that came
	Replace   map[string]string // in the text of the request
	Unwrap    []string          // and in the text of the answer
	Emit      json.RawMessage
	Interrupt json.RawMessage
	Spin      bool
	Fail      string
	Silent    bool
	Output    json.RawMessage // in the place of the answer
}

type call struct {
	Hook    string `json:"hook"`
	Model   string `json:"model"`
	Config  struct{ Steps []step }
	Request json.RawMessage `json:"request"`
}

func read() []byte {
	b := make([]byte, inputLen())
	if len(b) > 0 {
		input(unsafe.Pointer(&b[0]))
	}
	return b
}

func ask(capability func(unsafe.Pointer, uint32) uint32, request []byte) (ok json.RawMessage, failed bool) {
	n := capability(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)))
	b := make([]byte, n)
	if n > 0 {
		reply(unsafe.Pointer(&b[0]))
	}
	var r struct {
		OK    json.RawMessage `json:"ok"`
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(b, &r) != nil || r.Error != nil {
		return r.Error, true
	}
	return r.OK, false
}

func fail(b []byte) int32 {
	setError(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)))
	return 1
}

//go:wasmexport hooks
func hooks() int32 {
	var c call
	if err := json.Unmarshal(read(), &c); err != nil {
		return fail([]byte(err.Error()))
	}
	answer := c.Request
	for _, s := range c.Config.Steps {
		switch {
		case s.Fail != "":
			return fail([]byte(s.Fail))
		case s.Silent:
			return 1
		case s.Spin:
			for {
			}
		case s.Emit != nil:
			if e, failed := ask(emit, s.Emit); failed {
				return fail(e)
			}
		case s.Interrupt != nil:
			ask(interrupt, s.Interrupt)
		case s.Output != nil:
			answer = s.Output
		default:
			request := s.Next
			if request == nil {
				request = c.Request
			}
			text := string(request)
			for from, to := range s.Replace {
				text = strings.ReplaceAll(text, from, to)
			}
			ok, failed := ask(next, []byte(text))
			if failed {
				return fail(ok)
			}
			text = string(ok)
			for i := 0; i+1 < len(s.Unwrap); i += 2 {
				text = strings.ReplaceAll(text, s.Unwrap[i], s.Unwrap[i+1])
			}
			answer = json.RawMessage(text)
		}
	}
	output(unsafe.Pointer(unsafe.SliceData(answer)), uint32(len(answer)))
	return 0
}

// confirm interrupts until its caller has answered, and then gives the answer.
//
//go:wasmexport confirm
func confirm() int32 {
	answer, _ := ask(resumed, nil)
	if string(answer) == "null" {
		ask(interrupt, []byte(`{"sure":"?"}`))
		return 0
	}
	output(unsafe.Pointer(unsafe.SliceData(answer)), uint32(len(answer)))
	return 0
}

// format reads "a=1;b=2" as {"a":"1","b":"2"}. A schema {"description": text} sets its
// instructions.
//
//go:wasmexport pairs
func pairs() int32 {
	var c struct {
		Op      string
		Schema  struct{ Description string }
		Text    string
		Message struct{ Content []struct{ Text string } }
	}
	if err := json.Unmarshal(read(), &c); err != nil {
		return fail([]byte(err.Error()))
	}
	var out any
	switch c.Op {
	case "instructions":
		out = "Write name=value pairs. " + c.Schema.Description
	case "parse":
		for _, p := range c.Message.Content {
			c.Text += p.Text
		}
		fallthrough
	case "parseChunk":
		if strings.Contains(c.Text, "bad") {
			return fail([]byte(`{"code":"INVALID_ARGUMENT","message":"no pairs"}`))
		}
		read := map[string]string{}
		for _, pair := range strings.Split(c.Text, ";") {
			if name, value, ok := strings.Cut(pair, "="); ok {
				read[name] = value
			}
		}
		out = read
	}
	b, _ := json.Marshal(out)
	output(unsafe.Pointer(&b[0]), uint32(len(b)))
	return 0
}

func main() {}
