package ollama

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

const api = "chat"

// wireAnswer is an answer, or one line of a stream.
type wireAnswer struct {
	Message *struct {
		Content   string `json:"content"`
		Thinking  string `json:"thinking"`
		ToolCalls []struct {
			ID       string `json:"id"`
			Function struct {
				Name      string          `json:"name"`
				Arguments json.RawMessage `json:"arguments"`
			} `json:"function"`
		} `json:"tool_calls"`
	} `json:"message"`
	Done       bool   `json:"done"`
	DoneReason string `json:"done_reason"`
}

// answer collects one answer. A document is taken as a stream of one line, which makes the
// two forms give the same response.
type answer struct {
	reply wire.Reply
	last  json.RawMessage // the line that ended the answer, with its counts
	lines int
}

var _ wire.Answer = (*answer)(nil)

// finishReasons are the API's. A model that was only loaded has said nothing.
var finishReasons = map[string]model.FinishReason{"stop": model.FinishStop, "length": model.FinishLength, "load": model.FinishOther, "unload": model.FinishOther}

// Document takes in a whole answer.
func (a *answer) Document(raw json.RawMessage) error {
	if _, err := a.Event(raw); err != nil {
		return err
	}
	if !a.Done() {
		return wire.ErrForm(api, nil)
	}
	return nil
}

// Done reports whether the line came that says so.
func (a *answer) Done() bool { return a.last != nil }

// Complete is Done: a stream without it was cut off.
func (a *answer) Complete() bool { return a.Done() }

// Event takes in a line.
func (a *answer) Event(data json.RawMessage) ([]content.Part, error) {
	var line wireAnswer
	if err := json.Unmarshal(data, &line); err != nil {
		return nil, wire.ErrForm(api, err)
	}
	a.lines++
	var parts []content.Part
	if m := line.Message; m != nil {
		thought, err := a.reply.Say(wire.ReasoningPiece, m.Thinking)
		if err != nil {
			return nil, err
		}
		said, err := a.reply.Say(wire.TextPiece, m.Content)
		if err != nil {
			return nil, err
		}
		parts = append(thought, said...)
		for _, call := range m.ToolCalls {
			piece, err := a.reply.Open(&wire.Piece{Kind: wire.CallPiece, Ref: call.ID, Name: call.Function.Name})
			if err != nil {
				return nil, err
			}
			if !wire.IsNull(call.Function.Arguments) {
				piece.Add(wire.TextOf(call.Function.Arguments)) // it comes whole
			}
		}
	}
	if line.Done {
		a.last = data
		a.reply.Ended(line.DoneReason)
	}
	return parts, nil
}

// Response is what was collected.
func (a *answer) Response() (*model.Response, error) {
	resp, err := a.reply.Response("")
	if err != nil {
		return nil, err
	}
	resp.Usage = usage(a.last)
	raw := a.last
	if a.lines > 1 {
		if raw, err = a.document(); err != nil {
			return nil, status.Errorf(status.Internal, "map the answer: %w", err)
		}
	}
	if len(raw) <= wire.MaxRawBytes {
		resp.Raw = raw
	}
	return resp, nil
}

// document writes a stream's answer as the document that it would have been.
func (a *answer) document() (json.RawMessage, error) {
	doc, err := wire.ParseObject(a.last)
	if err != nil {
		return nil, err
	}
	msg := wireMessage{Role: "assistant"}
	var text, thinking strings.Builder
	for _, p := range a.reply.Pieces() {
		switch p.Kind {
		case wire.TextPiece:
			text.WriteString(p.Text())
		case wire.ReasoningPiece:
			thinking.WriteString(p.Text())
		case wire.CallPiece:
			call := wireCall{ID: p.Ref}
			call.Function.Index, call.Function.Name, call.Function.Arguments = len(msg.ToolCalls), p.Name, json.RawMessage(p.Text())
			if !json.Valid(call.Function.Arguments) {
				call.Function.Arguments = nil
			}
			msg.ToolCalls = append(msg.ToolCalls, call)
		}
	}
	msg.Content, msg.Thinking = text.String(), thinking.String()
	raw, err := rawjson.Encode(msg)
	if err != nil {
		return nil, err
	}
	doc.Set("message", raw)
	return rawjson.Encode(doc)
}

// usage maps the API's counts. Its times, in nanoseconds, go to Custom.
func usage(raw json.RawMessage) *model.Usage {
	var counts map[string]json.RawMessage
	if json.Unmarshal(raw, &counts) != nil {
		return nil
	}
	input, output := wire.Count(counts["prompt_eval_count"]), wire.Count(counts["eval_count"])
	if input == 0 && output == 0 {
		return nil
	}
	u := &model.Usage{}
	tell := func(name string, n int64) { u.Tell(name, json.Number(strconv.FormatInt(n, 10))) }
	tell("inputTokens", input)
	tell("outputTokens", output)
	tell("totalTokens", input+output)
	for _, name := range []string{"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"} {
		if n := wire.Count(counts[name]); n > 0 {
			tell("custom."+name, n)
		}
	}
	return u
}
