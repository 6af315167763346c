package bedrock

import (
	"encoding/json"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

const api = "Converse"

// wireAnswer is the answer of Converse.
type wireAnswer struct {
	Output struct {
		Message *struct {
			Content []json.RawMessage `json:"content"`
		} `json:"message"`
	} `json:"output"`
	StopReason string          `json:"stopReason"`
	Usage      json.RawMessage `json:"usage"`
}

// wireEvent is one event of ConverseStream, under its name.
type wireEvent struct {
	Start *struct {
		Index int `json:"contentBlockIndex"`
		Start struct {
			ToolUse *wireUse `json:"toolUse"`
		} `json:"start"`
	} `json:"contentBlockStart"`
	Delta *struct {
		Index int `json:"contentBlockIndex"`
		Delta struct {
			Text    *string `json:"text"`
			ToolUse *struct {
				Input string `json:"input"`
			} `json:"toolUse"`
			Reasoning *struct {
				Text      string `json:"text"`
				Signature string `json:"signature"`
				Redacted  string `json:"redactedContent"`
			} `json:"reasoningContent"`
		} `json:"delta"`
	} `json:"contentBlockDelta"`
	Stop *struct {
		StopReason string `json:"stopReason"`
	} `json:"messageStop"`
	Metadata *struct {
		Usage json.RawMessage `json:"usage"`
	} `json:"metadata"`
}

// answer collects one answer.
type answer struct {
	reply     wire.Reply
	at        map[int]*wire.Piece // by the stream's index
	signature map[*wire.Piece]string
	usage     json.RawMessage
	raw       json.RawMessage // of a document
	stopped   bool
	done      bool
}

var _ wire.Answer = (*answer)(nil)

// finishReasons are the API's.
var finishReasons = map[string]model.FinishReason{
	"end_turn": model.FinishStop, "stop_sequence": model.FinishStop, "tool_use": model.FinishStop,
	"max_tokens": model.FinishLength, "model_context_window_exceeded": model.FinishLength,
	"content_filtered": model.FinishBlocked, "guardrail_intervened": model.FinishBlocked,
	"malformed_model_output": model.FinishOther, "malformed_tool_use": model.FinishOther,
}

// Document takes in a whole answer.
func (a *answer) Document(raw json.RawMessage) error {
	var doc wireAnswer
	if err := json.Unmarshal(raw, &doc); err != nil {
		return wire.ErrForm(api, err)
	}
	if doc.Output.Message == nil {
		return wire.ErrForm(api, nil)
	}
	for _, b := range doc.Output.Message.Content {
		if err := a.add(b); err != nil {
			return err
		}
	}
	a.reply.Ended(doc.StopReason)
	a.usage, a.raw, a.done = doc.Usage, raw, true
	return nil
}

// add takes in a whole block. One of another kind, such as a citation's, is kept as it is.
func (a *answer) add(raw json.RawMessage) error {
	var b block
	if err := json.Unmarshal(raw, &b); err != nil {
		return wire.ErrForm(api, err)
	}
	switch {
	case b.Text != nil:
		return a.open(wire.TextPiece, *b.Text)
	case b.ToolUse != nil:
		p, err := a.reply.Open(&wire.Piece{Kind: wire.CallPiece, Ref: b.ToolUse.ID, Name: b.ToolUse.Name})
		if err == nil && !wire.IsNull(b.ToolUse.Input) {
			p.Add(wire.TextOf(b.ToolUse.Input))
		}
		return err
	case b.Reasoning != nil:
		p, err := a.reply.Open(&wire.Piece{Kind: wire.ReasoningPiece})
		if err != nil {
			return err
		}
		if t := b.Reasoning.Text; t != nil {
			p.Add(t.Text)
			return note(p, signatureKey, t.Signature)
		}
		return note(p, redactedKey, b.Reasoning.Redacted)
	}
	custom, err := rawjson.Encode(map[string]json.RawMessage{"bedrockBlock": raw})
	if err == nil {
		_, err = a.reply.Open(&wire.Piece{Kind: wire.OtherPiece, Part: content.NewCustomPart(custom)})
	}
	return err
}

func (a *answer) open(kind wire.PieceKind, text string) error {
	p, err := a.reply.Open(&wire.Piece{Kind: kind})
	if err == nil {
		p.Add(text)
	}
	return err
}

func note(p *wire.Piece, key, value string) error {
	if value == "" {
		return nil
	}
	raw, err := rawjson.Encode(value)
	p.Metadata = p.Metadata.With(key, raw)
	return err
}

// Done reports whether the metadata came, which end a stream.
func (a *answer) Done() bool { return a.done }

// Complete is Done: a stream without them was cut off.
func (a *answer) Complete() bool { return a.done }

// Event takes in an event. Those that are not known are passed over.
func (a *answer) Event(data json.RawMessage) ([]content.Part, error) {
	var ev wireEvent
	if err := json.Unmarshal(data, &ev); err != nil {
		return nil, wire.ErrForm(api, err)
	}
	switch {
	case ev.Start != nil && ev.Start.Start.ToolUse != nil:
		use := ev.Start.Start.ToolUse
		p, err := a.piece(ev.Start.Index, &wire.Piece{Kind: wire.CallPiece, Ref: use.ID, Name: use.Name})
		if err != nil {
			return nil, err
		}
		return []content.Part{p.Partial()}, nil
	case ev.Delta != nil:
		return a.grow(&ev)
	case ev.Stop != nil:
		a.reply.Ended(ev.Stop.StopReason)
		a.stopped = true
	case ev.Metadata != nil && a.stopped:
		a.usage, a.done = ev.Metadata.Usage, true
	}
	return nil, nil
}

// piece is the block of an index, which begins as p where it is new.
func (a *answer) piece(index int, p *wire.Piece) (*wire.Piece, error) {
	if known := a.at[index]; known != nil {
		if known.Kind != p.Kind {
			return nil, wire.ErrForm(api, nil)
		}
		return known, nil
	}
	opened, err := a.reply.Open(p)
	if err != nil {
		return nil, err
	}
	if a.at == nil {
		a.at, a.signature = map[int]*wire.Piece{}, map[*wire.Piece]string{}
	}
	a.at[index] = opened
	return opened, nil
}

// grow takes in a piece of a block.
func (a *answer) grow(ev *wireEvent) ([]content.Part, error) {
	d := &ev.Delta.Delta
	switch {
	case d.Text != nil:
		p, err := a.piece(ev.Delta.Index, &wire.Piece{Kind: wire.TextPiece})
		if err != nil {
			return nil, err
		}
		return p.Add(*d.Text), nil
	case d.ToolUse != nil:
		p := a.at[ev.Delta.Index]
		if p == nil || p.Kind != wire.CallPiece {
			return nil, wire.ErrForm(api, nil)
		}
		return p.Add(d.ToolUse.Input), nil
	case d.Reasoning != nil:
		p, err := a.piece(ev.Delta.Index, &wire.Piece{Kind: wire.ReasoningPiece})
		if err != nil {
			return nil, err
		}
		key, value := signatureKey, d.Reasoning.Signature
		if d.Reasoning.Redacted != "" {
			key, value = redactedKey, d.Reasoning.Redacted
		}
		a.signature[p] += value
		if value != "" {
			if err := note(p, key, a.signature[p]); err != nil {
				return nil, err
			}
		}
		return p.Add(d.Reasoning.Text), nil
	}
	return nil, nil
}

// Response is what was collected.
func (a *answer) Response() (*model.Response, error) {
	resp, err := a.reply.Response("")
	if err != nil {
		return nil, err
	}
	resp.Usage = usageOf(a.usage)
	if a.raw == nil {
		if a.raw, err = a.document(); err != nil {
			return nil, status.Errorf(status.Internal, "map the answer: %w", err)
		}
	}
	if len(a.raw) <= wire.MaxRawBytes {
		resp.Raw = a.raw
	}
	return resp, nil
}

// document writes a stream's answer as the document that it would have been.
func (a *answer) document() (json.RawMessage, error) {
	blocks := make([]block, 0, len(a.reply.Pieces()))
	for _, p := range a.reply.Pieces() {
		text := p.Text()
		var b block
		switch p.Kind {
		case wire.TextPiece:
			b.Text = &text
		case wire.CallPiece:
			b.ToolUse = &wireUse{ID: p.Ref, Name: p.Name}
			if json.Valid([]byte(text)) {
				b.ToolUse.Input = json.RawMessage(text)
			}
		case wire.ReasoningPiece:
			b.Reasoning = &wireReasoning{Redacted: wire.String(p.Metadata[redactedKey])}
			if b.Reasoning.Redacted == "" {
				b.Reasoning.Text = &wireReasoningText{text, wire.String(p.Metadata[signatureKey])}
			}
		}
		blocks = append(blocks, b)
	}
	doc := map[string]any{"output": map[string]any{"message": wireMessage{"assistant", blocks}}, "stopReason": a.reply.Finish.Reason}
	if !wire.IsNull(a.usage) {
		doc["usage"] = a.usage
	}
	return rawjson.Encode(doc)
}

// usageOf maps the API's counts. Its inputTokens are those that were neither read from the
// cache nor written to it: inputTokens is the sum of the three, as with anthropic. The API's
// own counts are in Custom, under its names.
func usageOf(raw json.RawMessage) *model.Usage {
	var counts map[string]json.RawMessage
	if json.Unmarshal(raw, &counts) != nil || len(counts) == 0 {
		return nil
	}
	u := &model.Usage{}
	tell := func(name string, n int64) { u.Tell(name, json.Number(strconv.FormatInt(n, 10))) }
	cached := wire.Count(counts["cacheReadInputTokens"])
	input, output := wire.Count(counts["inputTokens"])+cached+wire.Count(counts["cacheWriteInputTokens"]), wire.Count(counts["outputTokens"])
	tell("inputTokens", input)
	tell("outputTokens", output)
	tell("totalTokens", max(input+output, wire.Count(counts["totalTokens"])))
	if cached > 0 {
		tell("cachedContentTokens", cached)
	}
	wire.TellCounters(u, "", raw, "outputTokens", "totalTokens")
	return u
}
