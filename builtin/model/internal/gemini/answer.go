package gemini

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

const api = "generateContent"

// wireAnswer is a response, or one piece of a stream.
type wireAnswer struct {
	Candidates     []wireCandidate `json:"candidates,omitempty"`
	PromptFeedback *wireFeedback   `json:"promptFeedback,omitempty"`
	UsageMetadata  json.RawMessage `json:"usageMetadata,omitempty"`
	ModelVersion   json.RawMessage `json:"modelVersion,omitempty"`
	ResponseID     json.RawMessage `json:"responseId,omitempty"`
}

type wireFeedback struct {
	BlockReason        string          `json:"blockReason,omitempty"`
	BlockReasonMessage string          `json:"blockReasonMessage,omitempty"`
	SafetyRatings      json.RawMessage `json:"safetyRatings,omitempty"`
}

type wireCandidate struct {
	Index   int `json:"index,omitempty"`
	Content struct {
		Role  string            `json:"role,omitempty"`
		Parts []json.RawMessage `json:"parts,omitempty"`
	} `json:"content"`
	FinishReason       string          `json:"finishReason,omitempty"`
	FinishMessage      string          `json:"finishMessage,omitempty"`
	SafetyRatings      json.RawMessage `json:"safetyRatings,omitempty"`
	CitationMetadata   json.RawMessage `json:"citationMetadata,omitempty"`
	GroundingMetadata  json.RawMessage `json:"groundingMetadata,omitempty"`
	URLContextMetadata json.RawMessage `json:"urlContextMetadata,omitempty"`
	LogprobsResult     json.RawMessage `json:"logprobsResult,omitempty"`
	ContinuationToken  string          `json:"continuationToken,omitempty"`
}

// piece is a part of the answer; texts of one kind that follow each other are one.
type piece struct {
	part      content.Part
	text      *strings.Builder // of text and thoughts
	thought   bool
	signature string
	raw       json.RawMessage // what came, but of text
	call      *wireCall
}

// answer collects one answer. A document is taken as a stream of one piece, which makes the
// two forms give the same response.
type answer struct {
	tools *wire.Toolset
	clean func(string) string // makes the server's words fit to be shown
	body  []byte              // of the request

	pieces   []*piece
	feedback *wireFeedback
	head     wireCandidate // the latest of the fields beside the content
	rest     wireAnswer    // the latest of the fields beside the candidates
	seen     bool
	raw      json.RawMessage // of a document
	hops     int
	finish   wire.Finish
	lost     []string
}

var _ wire.Answer = (*answer)(nil)

// NewAnswer collects the answer to r. clean makes the server's words fit to be shown.
func NewAnswer(r *Request, clean func(string) string) wire.Answer {
	return &answer{tools: r.tools, body: r.Body, clean: clean}
}

// Document takes in a whole answer.
func (a *answer) Document(raw json.RawMessage) error {
	_, err := a.Event(raw)
	if err == nil && !a.Complete() && !a.seen {
		err = wire.ErrForm(api, nil)
	}
	a.raw = raw
	return err
}

// Done is false: a stream ends where its connection does.
func (a *answer) Done() bool { return false }

// Complete reports whether the answer may end here: it has a finish reason, or was blocked.
func (a *answer) Complete() bool {
	return a.head.FinishReason != "" || (a.feedback != nil && a.feedback.BlockReason != "")
}

// maxHops bounds how often an answer is continued.
const maxHops = 32

// Continue returns the request for the rest of an answer that ended with CONTINUATION, nil
// where there is none.
func (a *answer) Continue() []byte {
	if a.head.FinishReason != "CONTINUATION" || a.head.ContinuationToken == "" || a.hops == maxHops {
		return nil
	}
	token, err := rawjson.Encode(map[string]string{"continuationToken": a.head.ContinuationToken})
	if err != nil {
		return nil
	}
	more, err := wire.WithExtra(a.body, token)
	if err != nil {
		return nil
	}
	a.hops++
	a.finish = wire.Finish{}
	a.head.FinishReason, a.head.ContinuationToken = "", ""
	return more
}

// Event takes in a piece.
func (a *answer) Event(data json.RawMessage) ([]content.Part, error) {
	var ev wireAnswer
	if err := json.Unmarshal(data, &ev); err != nil {
		return nil, wire.ErrForm(api, err)
	}
	if ev.PromptFeedback != nil {
		a.feedback = ev.PromptFeedback
	}
	keep(&a.rest.UsageMetadata, ev.UsageMetadata)
	keep(&a.rest.ModelVersion, ev.ModelVersion)
	keep(&a.rest.ResponseID, ev.ResponseID)
	var all []content.Part
	for i := range ev.Candidates {
		c := &ev.Candidates[i]
		if c.Index != 0 {
			continue // one was asked for
		}
		a.seen = true
		for _, raw := range c.Content.Parts {
			parts, err := a.add(raw)
			if err != nil {
				return nil, err
			}
			all = append(all, parts...)
		}
		a.ended(c.FinishReason)
		a.head.FinishMessage = wire.Or(c.FinishMessage, a.head.FinishMessage)
		a.head.ContinuationToken = wire.Or(c.ContinuationToken, a.head.ContinuationToken)
		keep(&a.head.SafetyRatings, c.SafetyRatings)
		keep(&a.head.CitationMetadata, c.CitationMetadata)
		keep(&a.head.GroundingMetadata, c.GroundingMetadata)
		keep(&a.head.URLContextMetadata, c.URLContextMetadata)
		keep(&a.head.LogprobsResult, c.LogprobsResult)
	}
	return all, nil
}

// ended takes in a finish reason; of several, one that is no end of the model's own wins.
func (a *answer) ended(reason string) {
	mapped, known := finishReasons[reason]
	end := wire.EndOf(mapped, known)
	if reason == "FINISH_REASON_UNSPECIFIED" { // the name of none
		end = wire.EndUnsaid
	}
	a.finish.Add(reason, end)
	a.head.FinishReason = a.finish.Reason
}

func keep(to *json.RawMessage, v json.RawMessage) {
	if !wire.IsNull(v) {
		*to = v
	}
}

// add takes in a part, which may carry several fields at once.
func (a *answer) add(raw json.RawMessage) ([]content.Part, error) {
	var p struct {
		Text             *string   `json:"text"`
		Thought          bool      `json:"thought"`
		ThoughtSignature string    `json:"thoughtSignature"`
		InlineData       *wireBlob `json:"inlineData"`
		FileData         *wireFile `json:"fileData"`
		FunctionCall     *wireCall `json:"functionCall"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, wire.ErrForm(api, err)
	}
	before := len(a.pieces)
	var shown []content.Part
	if p.Text != nil {
		a.addText(*p.Text, p.Thought, p.ThoughtSignature)
		switch {
		case *p.Text == "":
		case p.Thought:
			shown = append(shown, content.NewReasoningPart(*p.Text, nil))
		default:
			shown = append(shown, content.NewTextPart(*p.Text))
		}
	}
	if m := p.InlineData; m != nil {
		a.pieces = append(a.pieces, &piece{part: content.NewMediaPart(m.MIMEType, "data:"+m.MIMEType+";base64,"+m.Data), raw: raw})
		shown = append(shown, a.pieces[len(a.pieces)-1].part)
	}
	if m := p.FileData; m != nil {
		a.pieces = append(a.pieces, &piece{part: content.NewMediaPart(m.MIMEType, m.FileURI), raw: raw})
		shown = append(shown, a.pieces[len(a.pieces)-1].part)
	}
	if p.FunctionCall != nil {
		a.pieces = append(a.pieces, &piece{call: p.FunctionCall, raw: raw})
	}
	if own, err := a.ownPart(raw); err != nil {
		return nil, err
	} else if own != nil {
		a.pieces = append(a.pieces, &piece{part: *own, raw: raw})
		shown = append(shown, *own)
	}
	if p.Text == nil && len(a.pieces) > before {
		a.pieces[len(a.pieces)-1].signature = p.ThoughtSignature
	}
	if len(a.pieces) > wire.MaxParts {
		return nil, wire.ErrTooManyParts()
	}
	return shown, nil
}

// ownPart is a part of the server's own, without its signature; nil where it is none.
func (a *answer) ownPart(raw json.RawMessage) (*content.Part, error) {
	o, err := wire.ParseObject(raw)
	if err != nil {
		return nil, wire.ErrForm(api, err)
	}
	if !o.Has(ownParts...) {
		return nil, nil
	}
	own := wire.Object{}
	for _, name := range ownParts {
		if value := o.Get(name); value != nil {
			own.Set(name, value)
		}
	}
	custom, err := rawjson.Encode(own)
	if err != nil {
		return nil, wire.ErrForm(api, err)
	}
	part := content.NewCustomPart(custom)
	return &part, nil
}

// addText goes on with the text before, unless a signature parts them: it belongs to the
// part with which it came.
func (a *answer) addText(text string, thought bool, signature string) {
	if n := len(a.pieces); n > 0 && signature == "" {
		if last := a.pieces[n-1]; last.text != nil && last.thought == thought && last.signature == "" {
			last.text.WriteString(text)
			return
		}
	}
	if text == "" && signature == "" {
		return
	}
	p := &piece{text: &strings.Builder{}, thought: thought, signature: signature}
	p.text.WriteString(text)
	a.pieces = append(a.pieces, p)
}

// finishReasons are the API's; others are "other", such as MALFORMED_FUNCTION_CALL and
// UNEXPECTED_TOOL_CALL. Only of an answer that ended with stop all calls are executed; see
// [wire.End].
var finishReasons = map[string]model.FinishReason{
	"STOP": model.FinishStop, "FUNCTION_CALL": model.FinishStop, "MAX_TOKENS": model.FinishLength, "CONTINUATION": model.FinishLength,
	"SAFETY": model.FinishBlocked, "RECITATION": model.FinishBlocked, "LANGUAGE": model.FinishBlocked, "BLOCKLIST": model.FinishBlocked,
	"PROHIBITED_CONTENT": model.FinishBlocked, "SPII": model.FinishBlocked, "IMAGE_SAFETY": model.FinishBlocked,
	"IMAGE_PROHIBITED_CONTENT": model.FinishBlocked, "IMAGE_RECITATION": model.FinishBlocked,
}

// Response is what was collected.
func (a *answer) Response() (*model.Response, error) {
	resp := &model.Response{Message: &content.Message{Role: content.RoleModel, Content: []content.Part{}}, Usage: usage(a.rest.UsageMetadata)}
	for i, p := range a.pieces {
		part, err := a.part(i, p)
		if err != nil {
			return nil, status.Errorf(status.Internal, "map the answer: %w", err)
		}
		if part != nil {
			resp.Message.Content = append(resp.Message.Content, *part)
		}
	}
	for name, value := range map[string]json.RawMessage{
		"groundingMetadata": a.head.GroundingMetadata, "citationMetadata": a.head.CitationMetadata, "urlContextMetadata": a.head.URLContextMetadata,
	} {
		if value != nil {
			resp.Message.Metadata = resp.Message.Metadata.With(name, value)
		}
	}
	resp.FinishReason, resp.FinishMessage = a.finished()
	if a.raw == nil || a.hops > 0 {
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
	message := a.head.FinishMessage
	if f := a.feedback; f != nil && f.BlockReason != "" && a.head.FinishReason == "" {
		return model.FinishBlocked, a.clean(wire.Or(f.BlockReasonMessage, "the prompt was blocked: "+f.BlockReason))
	}
	reason, known := finishReasons[a.head.FinishReason]
	switch {
	case a.head.FinishReason == "" || a.head.FinishReason == "FINISH_REASON_UNSPECIFIED":
		reason = model.FinishUnknown
	case !known:
		reason, message = model.FinishOther, wire.Or(message, a.head.FinishReason)
	case reason == model.FinishBlocked:
		message = wire.Or(message, a.head.FinishReason)
	}
	return reason, a.clean(wire.LostCalls(message, a.lost))
}

// part maps a piece; nil leaves it out.
func (a *answer) part(i int, p *piece) (*content.Part, error) {
	part := &p.part
	switch {
	case p.text != nil && p.thought:
		*part = content.NewReasoningPart(p.text.String(), nil)
	case p.text != nil:
		*part = content.NewTextPart(p.text.String())
	case p.call != nil:
		called, lost, err := a.request(i, p.call)
		if err != nil {
			return nil, err
		}
		if lost != "" {
			a.lost = append(a.lost, lost)
			return nil, nil
		}
		part = called
	}
	if p.signature == "" {
		return part, nil
	}
	raw, err := rawjson.Encode(p.signature)
	if err != nil {
		return nil, err
	}
	part.Metadata = part.Metadata.With(signatureKey, raw)
	return part, nil
}

// request gives the tool request of a call, or the quoted name of one that is left out.
func (a *answer) request(i int, call *wireCall) (part *content.Part, lost string, err error) {
	args, end := "{}", a.finish.End
	if !wire.IsNull(call.Args) {
		args = string(call.Args)
	}
	if call.WillContinue || !wire.IsNull(call.PartialArgs) || (a.feedback != nil && a.feedback.BlockReason != "") {
		end = wire.EndBroken
	}
	return a.tools.Call(call.Name, wire.Or(call.ID, "call_"+strconv.Itoa(i)), args, end)
}

// document writes a stream's answer as the document that it would have been.
func (a *answer) document() (json.RawMessage, error) {
	doc, c := a.rest, a.head
	doc.PromptFeedback = a.feedback
	c.Content.Role = "model"
	for _, p := range a.pieces {
		raw := p.raw
		if p.text != nil {
			text := p.text.String()
			var err error
			if raw, err = rawjson.Encode(wirePart{Text: &text, Thought: p.thought, ThoughtSignature: p.signature}); err != nil {
				return nil, err
			}
		}
		c.Content.Parts = append(c.Content.Parts, raw)
	}
	if a.seen {
		doc.Candidates = []wireCandidate{c}
	}
	return rawjson.Encode(doc)
}

// usage maps the API's counts. What tools of the server's own added to the prompt is part of
// inputTokens, as it is of the API's total. Counts by kind of content go to Custom.
func usage(raw json.RawMessage) *model.Usage {
	var counts map[string]json.RawMessage
	if json.Unmarshal(raw, &counts) != nil || counts == nil {
		return nil
	}
	u := &model.Usage{}
	tell := func(name string, n int64) {
		if n > 0 {
			u.Tell(name, json.Number(strconv.FormatInt(n, 10)))
		}
	}
	tell("inputTokens", wire.Count(counts["promptTokenCount"])+wire.Count(counts["toolUsePromptTokenCount"]))
	tell("outputTokens", wire.Count(counts["candidatesTokenCount"]))
	tell("thoughtsTokens", wire.Count(counts["thoughtsTokenCount"]))
	tell("cachedContentTokens", wire.Count(counts["cachedContentTokenCount"]))
	tell("totalTokens", wire.Count(counts["totalTokenCount"]))
	tell("custom.toolUsePromptTokenCount", wire.Count(counts["toolUsePromptTokenCount"]))
	for _, name := range []string{"promptTokensDetails", "candidatesTokensDetails", "cacheTokensDetails"} {
		var details []struct {
			Modality string          `json:"modality"`
			Count    json.RawMessage `json:"tokenCount"`
		}
		_ = json.Unmarshal(counts[name], &details) // absent or null
		const most = 8
		for _, d := range details[:min(len(details), most)] {
			tell("custom."+name+"."+wire.Clip(d.Modality, 32), wire.Count(d.Count))
		}
	}
	return u
}
