package claude

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

const api = "Messages"

// wireAnswer is a message, whole or as a stream begins it.
type wireAnswer struct {
	ID           json.RawMessage            `json:"id,omitempty"`
	Type         string                     `json:"type"`
	Role         string                     `json:"role"`
	Model        json.RawMessage            `json:"model,omitempty"`
	Content      []json.RawMessage          `json:"content"`
	StopReason   string                     `json:"stop_reason,omitempty"`
	StopSequence json.RawMessage            `json:"stop_sequence,omitempty"`
	StopDetails  json.RawMessage            `json:"stop_details,omitempty"`
	Usage        map[string]json.RawMessage `json:"usage,omitempty"`
}

// wireEvent is one event of a stream.
type wireEvent struct {
	Type    string          `json:"type"`
	Message *wireAnswer     `json:"message"`
	Index   int             `json:"index"`
	Block   json.RawMessage `json:"content_block"`
	Delta   struct {
		Type         string          `json:"type"`
		Text         string          `json:"text"`
		Thinking     string          `json:"thinking"`
		Signature    string          `json:"signature"`
		PartialJSON  string          `json:"partial_json"`
		Citation     json.RawMessage `json:"citation"`
		StopReason   string          `json:"stop_reason"`
		StopSequence json.RawMessage `json:"stop_sequence"`
		StopDetails  json.RawMessage `json:"stop_details"`
	} `json:"delta"`
	Usage map[string]json.RawMessage `json:"usage"`
}

// reply is a content block of an answer that is being collected.
type reply struct {
	kind, id, name string
	data           string // of redacted_thinking
	text, input    strings.Builder
	signature      strings.Builder
	citations      []json.RawMessage
	begun          json.RawMessage // as it began
	shown          int             // how long input was when it was shown last
}

// answer collects one answer. A document is taken as a stream in which each block comes in
// one piece, which makes the two forms give the same response.
type answer struct {
	tools *wire.Toolset
	clean func(string) string // makes the server's words fit to be shown

	head   wireAnswer
	blocks []*reply
	at     map[int]*reply // by the stream's index
	finish wire.Finish
	lost   []string
	raw    json.RawMessage // of a document
	begun  bool
	done   bool
}

var _ wire.Answer = (*answer)(nil)

// NewAnswer collects the answer to r. clean makes the server's words fit to be shown.
func NewAnswer(r *Request, clean func(string) string) wire.Answer {
	return &answer{tools: r.tools, clean: clean}
}

// Document takes in a whole message.
func (a *answer) Document(raw json.RawMessage) error {
	if err := json.Unmarshal(raw, &a.head); err != nil {
		return wire.ErrForm(api, err)
	}
	if a.head.Type != "message" {
		return wire.ErrForm(api, nil)
	}
	for i, b := range a.head.Content {
		if _, err := a.begin(i, b); err != nil {
			return err
		}
	}
	a.ended(a.head.StopReason)
	a.raw, a.begun, a.done = raw, true, true
	return nil
}

// Done reports whether message_stop came.
func (a *answer) Done() bool { return a.done }

// Complete is Done: a stream without message_stop was cut off.
func (a *answer) Complete() bool { return a.done }

// Event takes in an event. Those that are not known are passed over, as the API asks for.
func (a *answer) Event(data json.RawMessage) ([]content.Part, error) {
	var ev wireEvent
	if err := json.Unmarshal(data, &ev); err != nil {
		return nil, wire.ErrForm(api, err)
	}
	switch ev.Type {
	case "message_start":
		if ev.Message == nil || a.begun {
			return nil, wire.ErrForm(api, nil)
		}
		a.head, a.begun = *ev.Message, true
		a.ended(a.head.StopReason)
	case "content_block_start":
		return a.begin(ev.Index, ev.Block)
	case "content_block_delta":
		return a.add(&ev)
	case "message_delta":
		a.ended(ev.Delta.StopReason)
		if !wire.IsNull(ev.Delta.StopSequence) {
			a.head.StopSequence = ev.Delta.StopSequence
		}
		if !wire.IsNull(ev.Delta.StopDetails) {
			a.head.StopDetails = ev.Delta.StopDetails
		}
		a.count(ev.Usage)
	case "message_stop":
		if !a.begun {
			return nil, wire.ErrForm(api, nil)
		}
		a.done = true
	}
	return nil, nil
}

// ended takes in a stop reason; of several, one that is no end of the model's own wins.
func (a *answer) ended(reason string) {
	mapped, known := finishReasons[reason]
	a.finish.Add(reason, wire.EndOf(mapped, known))
	a.head.StopReason = a.finish.Reason
}

// count takes in counts, which are those of the answer so far.
func (a *answer) count(usage map[string]json.RawMessage) {
	if a.head.Usage == nil {
		a.head.Usage = map[string]json.RawMessage{}
	}
	for name, n := range usage {
		if !wire.IsNull(n) {
			a.head.Usage[name] = n
		}
	}
}

// begin takes in a block, or what a stream says of it first.
func (a *answer) begin(index int, raw json.RawMessage) ([]content.Part, error) {
	var b struct {
		Type      string            `json:"type"`
		ID        string            `json:"id"`
		Name      string            `json:"name"`
		Text      string            `json:"text"`
		Thinking  string            `json:"thinking"`
		Signature string            `json:"signature"`
		Data      string            `json:"data"`
		Input     json.RawMessage   `json:"input"`
		Citations []json.RawMessage `json:"citations"`
	}
	if err := json.Unmarshal(raw, &b); err != nil {
		return nil, wire.ErrForm(api, err)
	}
	if a.at == nil {
		a.at = map[int]*reply{}
	}
	if a.at[index] != nil {
		return nil, wire.ErrForm(api, nil)
	}
	if len(a.blocks) == wire.MaxParts {
		return nil, wire.ErrTooManyParts()
	}
	r := &reply{kind: b.Type, id: b.ID, name: b.Name, data: b.Data, citations: b.Citations, begun: raw}
	r.signature.WriteString(b.Signature)
	if input := wire.TextOf(b.Input); b.Type == "tool_use" && !wire.IsNull(b.Input) && input != "{}" {
		r.input.WriteString(input) // a stream begins with {}, and adds the text of all of it
	}
	a.blocks, a.at[index] = append(a.blocks, r), r
	switch b.Type {
	case "text":
		return r.addText(b.Text), nil
	case "thinking":
		return r.addThinking(b.Thinking), nil
	case "tool_use":
		return []content.Part{a.partial(r)}, nil
	}
	return nil, nil
}

// add takes in a piece of a block.
func (a *answer) add(ev *wireEvent) ([]content.Part, error) {
	r := a.at[ev.Index]
	if r == nil {
		return nil, wire.ErrForm(api, nil)
	}
	switch ev.Delta.Type {
	case "text_delta":
		return r.addText(ev.Delta.Text), nil
	case "thinking_delta":
		return r.addThinking(ev.Delta.Thinking), nil
	case "signature_delta":
		r.signature.WriteString(ev.Delta.Signature)
	case "citations_delta":
		r.citations = append(r.citations, ev.Delta.Citation)
	case "input_json_delta":
		r.input.WriteString(ev.Delta.PartialJSON)
		if r.kind == "tool_use" && wire.ShowsPartial(r.input.Len(), r.shown) {
			r.shown = r.input.Len()
			return []content.Part{a.partial(r)}, nil
		}
	}
	return nil, nil
}

func (r *reply) addText(text string) []content.Part {
	r.text.WriteString(text)
	if text == "" {
		return nil
	}
	return []content.Part{content.NewTextPart(text)}
}

func (r *reply) addThinking(text string) []content.Part {
	r.text.WriteString(text)
	if text == "" {
		return nil
	}
	return []content.Part{content.NewReasoningPart(text, nil)}
}

// partial is a call whose arguments are still coming.
func (a *answer) partial(r *reply) content.Part {
	return wire.PartialCall(a.tools.Original(r.name), r.id, r.input.String())
}

// finishReasons are the API's. A context window that is full is a length. Of an answer that
// pauses (pause_turn), of one that is refused, and of reasons that are not here, no call is
// executed; see [wire.End].
var finishReasons = map[string]model.FinishReason{
	"end_turn": model.FinishStop, "stop_sequence": model.FinishStop, "tool_use": model.FinishStop,
	"max_tokens": model.FinishLength, "model_context_window_exceeded": model.FinishLength,
	"refusal": model.FinishBlocked, "pause_turn": model.FinishOther,
}

// Response is what was collected.
func (a *answer) Response() (*model.Response, error) {
	resp := &model.Response{Message: &content.Message{Role: content.RoleModel, Content: []content.Part{}}, Usage: usage(a.head.Usage)}
	for _, r := range a.blocks {
		part, err := a.part(r)
		if err != nil {
			return nil, status.Errorf(status.Internal, "map the answer: %w", err)
		}
		if part != nil {
			resp.Message.Content = append(resp.Message.Content, *part)
		}
	}
	resp.FinishReason, resp.FinishMessage = a.finished()
	if a.raw == nil {
		var err error
		if a.raw, err = a.document(); err != nil {
			return nil, status.Errorf(status.Internal, "map the answer: %w", err)
		}
	}
	if len(a.raw) <= wire.MaxRawBytes {
		resp.Raw = a.raw
	}
	return resp, nil
}

func (a *answer) finished() (model.FinishReason, string) {
	reason, known := finishReasons[a.head.StopReason]
	message := ""
	switch {
	case a.head.StopReason == "":
		reason = model.FinishUnknown
	case !known:
		reason, message = model.FinishUnknown, "stop_reason "+strconv.Quote(wire.Clip(a.head.StopReason, 64))
	case reason == model.FinishBlocked:
		var details struct {
			Category    string `json:"category"`
			Explanation string `json:"explanation"`
		}
		_ = json.Unmarshal(a.head.StopDetails, &details) // absent or null
		message = wire.Or(details.Explanation, wire.Or(details.Category, "the model refuses to answer"))
	case reason == model.FinishOther:
		message = a.head.StopReason
	}
	return reason, a.clean(wire.LostCalls(message, a.lost))
}

// part maps a block; nil leaves it out.
func (a *answer) part(r *reply) (*content.Part, error) {
	switch r.kind {
	case "text":
		if r.text.Len() == 0 && len(r.citations) == 0 {
			return nil, nil
		}
		part := content.NewTextPart(r.text.String())
		if len(r.citations) == 0 {
			return &part, nil
		}
		return with(&part, "citations", r.citations)
	case "thinking":
		part := content.NewReasoningPart(r.text.String(), nil)
		return with(&part, signatureKey, r.signature.String())
	case "redacted_thinking":
		part := content.NewReasoningPart("", nil)
		return with(&part, redactedKey, r.data)
	case "tool_use":
		part, lost, err := a.tools.Call(r.name, wire.Or(r.id, "call_"+strconv.Itoa(len(a.lost)+len(a.at))), r.input.String(), a.finish.End)
		if lost != "" {
			a.lost = append(a.lost, lost)
		}
		return part, err
	}
	// Something of the server's own, such as the result of a search, goes back as it came.
	whole, err := r.whole()
	if err != nil {
		return nil, err
	}
	custom, err := rawjson.Encode(map[string]json.RawMessage{"anthropicBlock": whole})
	if err != nil {
		return nil, err
	}
	part := content.NewCustomPart(custom)
	return &part, nil
}

func with(part *content.Part, key string, value any) (*content.Part, error) {
	raw, err := rawjson.Encode(value)
	if err != nil {
		return nil, err
	}
	part.Metadata = part.Metadata.With(key, raw)
	return part, nil
}

// whole is a block as it would have come in one piece.
func (r *reply) whole() (json.RawMessage, error) {
	o, err := wire.ParseObject(r.begun)
	if err != nil {
		return nil, err
	}
	set := func(name string, value any) {
		var raw json.RawMessage
		if raw, err = rawjson.Encode(value); err == nil {
			o.Set(name, raw)
		}
	}
	switch r.kind {
	case "text":
		set("text", r.text.String())
		if len(r.citations) > 0 {
			set("citations", r.citations)
		}
	case "thinking":
		set("thinking", r.text.String())
		set("signature", r.signature.String())
	default:
		if input := json.RawMessage(r.input.String()); len(input) > 0 && json.Valid(input) {
			o.Set("input", input)
		}
	}
	if err != nil {
		return nil, err
	}
	return rawjson.Encode(o)
}

// document writes a stream's answer as the document that it would have been.
func (a *answer) document() (json.RawMessage, error) {
	doc := a.head
	doc.Content = make([]json.RawMessage, len(a.blocks))
	for i, r := range a.blocks {
		var err error
		if doc.Content[i], err = r.whole(); err != nil {
			return nil, err
		}
	}
	return rawjson.Encode(doc)
}

// usage maps the API's counts. Its input_tokens are those that were neither read from the
// cache nor written to it: inputTokens is the sum of the three, so that it means with this
// provider what it means with others. The API's own counts are in Custom, under its names.
func usage(counts map[string]json.RawMessage) *model.Usage {
	if len(counts) == 0 {
		return nil
	}
	u := &model.Usage{}
	input := wire.Count(counts["input_tokens"]) + wire.Count(counts["cache_creation_input_tokens"]) + wire.Count(counts["cache_read_input_tokens"])
	output := wire.Count(counts["output_tokens"])
	tell := func(name string, n int64) { u.Tell(name, json.Number(strconv.FormatInt(n, 10))) }
	tell("inputTokens", input)
	tell("outputTokens", output)
	tell("totalTokens", input+output)
	if cached := wire.Count(counts["cache_read_input_tokens"]); cached > 0 {
		tell("cachedContentTokens", cached)
	}
	var details map[string]json.RawMessage
	_ = json.Unmarshal(counts["output_tokens_details"], &details) // absent or null
	if thoughts := wire.Count(details["thinking_tokens"]); thoughts > 0 {
		tell("thoughtsTokens", thoughts)
	}
	raw, err := rawjson.Encode(counts)
	if err == nil {
		wire.TellCounters(u, "", raw, "output_tokens", "thinking_tokens")
	}
	return u
}
