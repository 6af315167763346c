package wire

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// End says how an answer ended, as far as its tool calls are concerned. The greater one
// wins where a server says more than one thing.
type End int

// The ends of an answer, and which of its calls are executed.
const (
	// EndUnsaid is an answer that came to its end without a reason. Some servers never send
	// one with a call. A call is executed when its arguments are a whole JSON object that is
	// not empty: an empty one may be a call whose arguments had not begun.
	EndUnsaid End = iota
	// EndDone is an answer with a reason that is known to mean that the model was done. All
	// of its calls are executed.
	EndDone
	// EndLimit is an answer that the limit of tokens cut off. The same calls are executed as
	// with EndUnsaid: in an object that was closed nothing is missing.
	EndLimit
	// EndBroken is an answer with any other reason, one that is not known included, or with
	// an error or a refusal. No call is executed.
	EndBroken
)

// EndOf is the end that a finish reason stands for; known says that the server's name of
// the reason is one of its API. Unknown reasons break an answer, so that a new name for
// "cut off" never executes half a call.
func EndOf(reason model.FinishReason, known bool) End {
	switch {
	case known && reason == model.FinishStop:
		return EndDone
	case known && reason == model.FinishLength:
		return EndLimit
	}
	return EndBroken
}

// Finish collects the reasons that a server gives for the end of one answer. Its zero
// value is an answer without one.
type Finish struct {
	// Reason is the reason that counts, as the server wrote it: of several the one of the
	// greatest End, and the latest of those.
	Reason string
	End    End
}

// Add takes in a reason; "" is none.
func (f *Finish) Add(reason string, end End) {
	if reason != "" && end >= f.End {
		f.Reason, f.End = reason, end
	}
}

// Complete reports whether a call of an answer that ended so is executed.
func (e End) Complete(arguments string) bool {
	switch e {
	case EndDone:
		return true
	case EndUnsaid, EndLimit:
		return wholeObject(json.RawMessage(arguments))
	}
	return false
}

// wholeObject reports whether arguments are an object with members. Nothing is repaired
// here, because a repair closes what is open.
func wholeObject(arguments json.RawMessage) bool {
	if schema.Check(arguments) != nil {
		return false
	}
	o, err := ParseObject(arguments)
	return err == nil && len(o) > 0
}

// Call gives the tool request of a call with its arguments, JSON or nearly so, in an answer
// that ended so. lost is the name of a call that is left out for that, quoted.
func (t *Toolset) Call(wireName, ref, arguments string, end End) (part *content.Part, lost string, err error) {
	name := t.Original(wireName)
	if !end.Complete(arguments) {
		return nil, strconv.Quote(Clip(name, MaxToolName)), nil
	}
	part = &content.Part{ToolRequest: &content.ToolRequest{Name: name, Ref: ref}}
	var problem string
	if part.ToolRequest.Input, problem = t.Input(name, arguments); problem != "" {
		reason, err := rawjson.Encode(problem)
		if err != nil {
			return nil, "", err
		}
		part.Metadata = content.Metadata{content.MalformedInput: reason}
	}
	return part, "", nil
}

// LostCalls is a finish message that names the calls which were left out.
func LostCalls(message string, lost []string) string {
	if len(lost) == 0 {
		return message
	}
	if message != "" {
		message += "; "
	}
	return message + "the answer was not finished; tool calls left out: " + strings.Join(lost, ", ")
}
