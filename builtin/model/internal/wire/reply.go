package wire

import (
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Reply collects the message of one answer, whole or in pieces. Set the fields, then add what
// comes.
type Reply struct {
	Tools *Toolset
	// Clean makes the server's words fit to be shown.
	Clean func(string) string
	// Reasons are the API's finish reasons. Others are "other", with the server's word for
	// it; only of an answer that ended with stop all calls are executed (see [End]).
	Reasons map[string]model.FinishReason

	Finish Finish
	pieces []*Piece
}

// PieceKind is what a piece of an answer is.
type PieceKind int

// The kinds of pieces.
const (
	TextPiece PieceKind = iota
	ReasoningPiece
	CallPiece
	OtherPiece
)

// Piece is one part of an answer that may still grow.
type Piece struct {
	Kind      PieceKind
	Ref, Name string // of a call, the name on the wire
	Metadata  content.Metadata
	Part      content.Part // of [OtherPiece]

	reply *Reply
	text  strings.Builder // or the arguments of a call
	shown int             // how much of them was shown
}

// Open begins a piece behind all others. A call without a ref gets one that is unique in the
// answer.
func (r *Reply) Open(p *Piece) (*Piece, error) {
	if len(r.pieces) == MaxParts {
		return nil, ErrTooManyParts()
	}
	p.reply = r
	r.pieces = append(r.pieces, p)
	if p.Kind == CallPiece {
		p.Ref = Or(p.Ref, "call_"+strconv.Itoa(len(r.pieces)-1))
	}
	return p, nil
}

// Last is the piece that was opened last, nil where there is none.
func (r *Reply) Last() *Piece {
	if len(r.pieces) == 0 {
		return nil
	}
	return r.pieces[len(r.pieces)-1]
}

// Say adds text or reasoning to the last piece of its kind, or begins one, and returns what is
// to be passed on.
func (r *Reply) Say(kind PieceKind, text string) ([]content.Part, error) {
	if text == "" {
		return nil, nil
	}
	last := r.Last()
	if last == nil || last.Kind != kind || last.Metadata != nil {
		var err error
		if last, err = r.Open(&Piece{Kind: kind}); err != nil {
			return nil, err
		}
	}
	return last.Add(text), nil
}

// Add adds text, reasoning, or a piece of the arguments of a call, and returns what is to be
// passed on.
func (p *Piece) Add(text string) []content.Part {
	p.text.WriteString(text)
	switch {
	case text == "":
		return nil
	case p.Kind == TextPiece:
		return []content.Part{content.NewTextPart(text)}
	case p.Kind == ReasoningPiece:
		return []content.Part{content.NewReasoningPart(text, nil)}
	case p.Kind == CallPiece && ShowsPartial(p.text.Len(), p.shown):
		p.shown = p.text.Len()
		return []content.Part{p.Partial()}
	}
	return nil
}

// Text is the piece's text, or the arguments of a call.
func (p *Piece) Text() string { return p.text.String() }

// Partial is a call whose arguments are still coming.
func (p *Piece) Partial() content.Part {
	return PartialCall(p.reply.Tools.Original(p.Name), p.Ref, p.text.String())
}

// Ended takes in a finish reason; of several, one that is no end of the model's own wins.
func (r *Reply) Ended(reason string) {
	mapped, known := r.Reasons[reason]
	r.Finish.Add(reason, EndOf(mapped, known))
}

// Pieces are those that came, in their order.
func (r *Reply) Pieces() []*Piece { return r.pieces }

// Response is what was collected; message is the server's word on how the answer ended, which
// may be "".
func (r *Reply) Response(message string) (*model.Response, error) {
	resp := &model.Response{Message: &content.Message{Role: content.RoleModel, Content: []content.Part{}}}
	var lost []string
	for _, p := range r.pieces {
		part, left, err := p.part()
		if err != nil {
			return nil, status.Errorf(status.Internal, "map the answer: %w", err)
		}
		switch {
		case left != "":
			lost = append(lost, left)
		case part != nil:
			resp.Message.Content = append(resp.Message.Content, *part)
		}
	}
	reason, known := r.Reasons[r.Finish.Reason]
	switch {
	case r.Finish.Reason == "":
		reason = model.FinishUnknown
	case !known:
		reason, message = model.FinishOther, Or(message, r.Finish.Reason)
	case reason == model.FinishBlocked || reason == model.FinishOther:
		message = Or(message, r.Finish.Reason)
	}
	resp.FinishReason, resp.FinishMessage = reason, r.Clean(LostCalls(message, lost))
	return resp, nil
}

// part maps a piece; nil leaves it out, and lost names a call that is.
func (p *Piece) part() (part *content.Part, lost string, err error) {
	text := p.text.String()
	switch p.Kind {
	case TextPiece:
		if text == "" && p.Metadata == nil {
			return nil, "", nil
		}
		part = &content.Part{Text: &text, Metadata: p.Metadata}
	case ReasoningPiece:
		part = &content.Part{Reasoning: &text, Metadata: p.Metadata}
	case CallPiece:
		part, lost, err = p.reply.Tools.Call(p.Name, p.Ref, text, p.reply.Finish.End)
		if part != nil {
			for name, value := range p.Metadata {
				part.Metadata = part.Metadata.With(name, value)
			}
		}
	default:
		part = &p.Part
	}
	return part, lost, err
}
