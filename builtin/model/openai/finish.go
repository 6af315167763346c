package openai

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// reasonText is a finish reason: a string, or an object that names it in "type", as
// SGLang's own API has it.
type reasonText string

// UnmarshalJSON reads either; null is none.
func (r *reasonText) UnmarshalJSON(b []byte) error {
	var object struct {
		Type json.RawMessage `json:"type"`
	}
	if wire.IsNull(b) {
		return nil
	}
	if wire.IsObject(b) && json.Unmarshal(b, &object) == nil && wire.String(object.Type) != "" {
		b = object.Type
	}
	*r = reasonText(wire.TextOf(b))
	return nil
}

// finishReasons are those that compatible servers are known to give, in small letters.
// FinishStop is an end of the model's own, which executes the calls of the answer: the
// list is closed, and what is not in it counts as cut off (see [wire.End]).
//
//   - stop, tool_calls: OpenAI and all others; eos: Together; eos_token, stop_sequence: Text
//     Generation Inference; end_turn: xAI, LiteLLM; tool_use: gateways to Anthropic; tool:
//     older llama.cpp; complete, tool_call: gateways to Cohere
//   - model_length: Mistral; model_context_window_exceeded, sensitive, network_error: Z.AI;
//     insufficient_system_resource: DeepSeek; error: OpenRouter, Mistral, Together; abort: vLLM,
//     SGLang; repetition: vLLM; function_call_filter: Gemini
var finishReasons = map[string]model.FinishReason{
	"stop": model.FinishStop, "tool_calls": model.FinishStop, "end_turn": model.FinishStop, "stop_sequence": model.FinishStop,
	"eos": model.FinishStop, "eos_token": model.FinishStop, "tool_use": model.FinishStop, "tool_call": model.FinishStop,
	"tool": model.FinishStop, "complete": model.FinishStop,

	"length": model.FinishLength, "model_context_window_exceeded": model.FinishLength, "model_length": model.FinishLength,
	"max_tokens": model.FinishLength, "max_output_tokens": model.FinishLength, "max_length": model.FinishLength,

	"content_filter": model.FinishBlocked, "sensitive": model.FinishBlocked, "safety": model.FinishBlocked,
	"refusal": model.FinishBlocked, "recitation": model.FinishBlocked,

	"error": model.FinishOther, "function_call": model.FinishOther,
	"network_error": model.FinishOther, "insufficient_system_resource": model.FinishOther, "abort": model.FinishOther,
	"aborted": model.FinishOther, "cancelled": model.FinishOther, "repetition": model.FinishOther, "incomplete": model.FinishOther,
	"pause_turn": model.FinishOther, "function_call_filter": model.FinishOther, "malformed_function_call": model.FinishOther,
}

// finishOf maps a server's finish reason, in letters of any case; Gemini says more behind a
// colon, such as "function_call_filter: MALFORMED_FUNCTION_CALL". The legacy function_call
// is an end of the model's own.
func finishOf(reason string) (model.FinishReason, wire.End) {
	name, _, _ := strings.Cut(strings.ToLower(reason), ":")
	name = strings.TrimSpace(name)
	mapped, known := finishReasons[name]
	if !known {
		return model.FinishUnknown, wire.EndBroken
	}
	if name == "function_call" {
		return mapped, wire.EndDone
	}
	return mapped, wire.EndOf(mapped, true)
}

// end is how the answer ended: an error of the choice and a refusal break it, whatever its
// finish reason is.
func (a *answer) end() wire.End {
	if len(a.failed) > 0 || a.refusal.Len() > 0 {
		return wire.EndBroken
	}
	return a.finish.End
}

// request gives the tool request of a call. There is none when the answer ended
// before the call was complete, which a.lost then tells, nor of a call that may belong to
// another, which a.unclear tells.
func (a *answer) request(i int) (*content.Part, error) {
	call := a.calls[i]
	if call.name == "" || (!call.begun() && (call.doubtful || a.orphaned())) {
		a.unclear = append(a.unclear, strconv.Quote(wire.Clip(a.tools.Original(call.name), wire.MaxToolName)))
		return nil, nil
	}
	part, lost, err := a.tools.Call(call.name, a.ref(i), call.arguments.String(), a.end())
	if err != nil {
		return nil, err
	}
	if lost != "" {
		a.lost = append(a.lost, lost)
		return nil, nil
	}
	if len(call.extra)+len(call.function) > 0 {
		part.Metadata, err = note{Server: a.server, Call: call.extra, Function: call.function}.on(part.Metadata)
	}
	return part, err
}

// orphaned reports whether arguments came of which no piece says to what function they
// belong: they may be those of any call without.
func (a *answer) orphaned() bool {
	return slices.ContainsFunc(a.calls, func(c *toolCall) bool { return c.name == "" && c.begun() })
}

// finished maps the finish reason and says what else is known of the end.
func (a *answer) finished() (model.FinishReason, string) {
	own := wire.Clip(a.finish.Reason, 64)
	reason, _ := finishOf(own)
	message := ""
	switch {
	case own == "":
	case reason == model.FinishUnknown:
		message = "finish_reason " + strconv.Quote(own)
	case reason == model.FinishOther, strings.Contains(own, ":"):
		message = own
	}
	if len(a.failed) > 0 {
		message = wire.ReadFailure(a.failed).Message
		if reason == model.FinishUnknown || reason == model.FinishStop {
			reason = model.FinishOther
		}
	}
	if a.refusal.Len() > 0 {
		reason, message = model.FinishBlocked, a.refusal.String()
	}
	if len(a.unclear) > 0 {
		if reason == model.FinishStop {
			reason = model.FinishOther
		}
		message = strings.TrimPrefix(message+"; it is not clear what belongs to these tool calls, left out: "+strings.Join(a.unclear, ", "), "; ")
	}
	return reason, a.clean(wire.LostCalls(message, a.lost))
}
