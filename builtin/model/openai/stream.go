package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

var streamDone = []byte("[DONE]")

// readStream passes text and reasoning on as they come, and tool requests once
// they are complete, at the stream's end. It fails with what send fails with.
func (p *Provider) readStream(ctx context.Context, c *call, body io.Reader, send model.Send) (*model.Response, error) {
	a := p.newAnswer(c)
	a.events = true
	stream := wire.NewEvents(body, p.cfg.MaxChunkBytes)
	if err := p.readEvents(ctx, c, a, stream, send); err != nil {
		return nil, err
	}
	if !a.choice && len(stream.Stray()) > 0 {
		return nil, p.peer.EndError(stream, c.key)
	}
	resp, err := a.response(nil)
	if err != nil {
		return nil, err
	}
	for _, part := range resp.ToolRequests() {
		if err := send(chunk(part)); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

func (p *Provider) readEvents(ctx context.Context, c *call, a *answer, stream *wire.Events, send model.Send) error {
	for {
		ev, err := stream.Next()
		atEnd := errors.Is(err, io.EOF)
		if err != nil && !atEnd {
			return p.peer.NetworkError(ctx, "read the stream", c.key, err)
		}
		data := bytes.TrimSpace(ev.Data)
		switch {
		case bytes.Equal(data, streamDone):
			return nil
		case ev.Failed && (!atEnd || json.Valid(data) || !wire.LooksJSON(data)):
			return p.peer.EventError(data, c.key)
		case atEnd && !json.Valid(data) && wire.LooksJSON(data):
			if len(data) == 0 && (a.finish.Reason != "" || len(a.failed) > 0) {
				return nil // not every server says [DONE]
			}
			return p.peer.EndError(stream, c.key)
		case len(data) == 0:
			continue
		}
		if err := p.event(a, data, c.key, send); err != nil || ev.Bare {
			return err
		}
	}
}

// event takes in one event and passes on what it brought.
func (p *Provider) event(a *answer, data []byte, key string, send model.Send) error {
	piece, err := p.parse(data, key)
	if err != nil {
		return err
	}
	text, reasoning := a.add(piece)
	var parts []content.Part
	if reasoning != "" {
		parts = append(parts, reasoningPart(reasoning))
	}
	if text != "" {
		parts = append(parts, content.NewTextPart(text))
	}
	if len(parts) == 0 {
		return nil
	}
	return send(chunk(parts...))
}

// decode takes in an answer that is one document.
func (p *Provider) decode(a *answer, raw []byte, key string) error {
	piece, err := p.parse(raw, key)
	if err == nil {
		a.add(piece)
	}
	return err
}

// parse reads a document or an event. An error in it fails the call, for that is how
// servers report what went wrong after they had said 200.
func (p *Provider) parse(raw []byte, key string) (*wireAnswer, error) {
	piece := &wireAnswer{}
	if err := schema.Check(raw); err != nil {
		if !wire.LooksJSON(raw) {
			return nil, p.peer.TextError(raw, key)
		}
		return nil, status.Publicf(status.Internal, "the server's answer can't be read: %w", err)
	}
	err := json.Unmarshal(raw, piece)
	if (!wire.IsNull(piece.Error) || len(piece.Choices) == 0) && (wire.IsFailure(raw) || p.isError(raw, piece)) {
		return nil, p.peer.BodyError(raw, key)
	}
	if err != nil {
		// The error quotes the answer.
		return nil, status.Publicf(status.Internal, "the server's answer does not have the form of the chat-completions API").WithCause(err)
	}
	return piece, nil
}

// isError reports whether what holds no choices is an error though it does not say so: it
// is a list or has a sentence where a piece of an answer has none.
func (p *Provider) isError(raw []byte, piece *wireAnswer) bool {
	e, ok := wire.FailureOf(raw)
	return ok && len(piece.Choices)+len(piece.Usage) == 0 && e.Message != ""
}
