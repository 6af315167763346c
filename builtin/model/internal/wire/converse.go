package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// MaxRawBytes bounds Response.Raw: beyond it the field is left out.
const MaxRawBytes = 1 << 20

// MaxParts bounds the parts of one answer.
const MaxParts = 4096

// Answer collects the answer of one request.
type Answer interface {
	// Document takes in an answer that is one document.
	Document(raw json.RawMessage) error
	// Event takes in the data of one event of a stream, valid JSON, and returns what is to
	// be passed on.
	Event(data json.RawMessage) (parts []content.Part, err error)
	// Done reports whether the stream has said that it ends here; Complete, whether it may
	// end here.
	Done() bool
	Complete() bool
	// Response is what was collected.
	Response() (*model.Response, error)
}

// Converse makes a request and reads the answer into a, in the form that the server chose:
// some answer a request for a stream with one document. Text and the like is passed on as
// it comes, tool requests once they are complete, at the end. An event, and each answer as a
// whole, are bounded; the request ends at once when ctx or the reader does.
//
// An answer with a method Continue() []byte that gives a body after its end is not there
// yet: the request is made again with that body.
func (s *Server) Converse(ctx context.Context, out Outgoing, maxEvent int, a Answer, send model.Send) (*model.Response, error) {
	left := s.MaxResponseBytes
	whole, id, err := s.collect(ctx, out, maxEvent, &left, a, send)
	for err == nil {
		more, ok := a.(interface{ Continue() []byte })
		if !ok {
			break
		}
		if out.Body = more.Continue(); out.Body == nil {
			break
		}
		whole, id, err = s.collect(ctx, out, maxEvent, &left, a, send)
	}
	if err != nil {
		return nil, err
	}
	resp, err := a.Response()
	if err != nil {
		return nil, err
	}
	if id != "" {
		if resp.Custom, err = rawjson.Encode(map[string]string{"requestId": id}); err != nil {
			return nil, status.Errorf(status.Internal, "map the answer: %w", err)
		}
	}
	if send == nil {
		return resp, nil
	}
	for _, part := range resp.Message.Content {
		if whole || part.ToolRequest != nil {
			if err := send(Chunk(part)); err != nil {
				return nil, err
			}
		}
	}
	return resp, nil
}

// collect makes one request and reads its answer; whole says that it was a document, of
// which nothing was passed on, and id is the server's name of the request. left is how much
// may still be read.
func (s *Server) collect(ctx context.Context, out Outgoing, maxEvent int, left *int64, a Answer, send model.Send) (whole bool, id string, err error) {
	httpCtx, cancel := context.WithCancel(ctx)
	defer cancel() // a reader that left ends the HTTP request
	resp, err := s.Ask(httpCtx, out)
	if err != nil {
		return false, "", err
	}
	defer resp.Body.Close()
	body := &bounded{resp.Body, *left, s.MaxResponseBytes}
	defer func() { *left = body.left }()
	contentType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if whole = send == nil || contentType == JSON; whole {
		return whole, RequestID(resp.Header), s.readDocument(ctx, out.Key, body, a)
	}
	var frames Frames = NewEvents(body, maxEvent)
	if out.Frames != nil {
		frames = out.Frames(body, maxEvent)
	}
	if err = s.readEvents(ctx, out.Key, frames, a, send); err == nil {
		Drain(resp.Body, cancel)
	}
	return whole, RequestID(resp.Header), err
}

func (s *Server) readDocument(ctx context.Context, key string, body io.Reader, a Answer) error {
	raw, err := io.ReadAll(body)
	if err != nil {
		return s.NetworkError(ctx, "read the answer", key, err)
	}
	if err := s.Check(raw, key); err != nil {
		return err
	}
	return a.Document(raw)
}

func (s *Server) readEvents(ctx context.Context, key string, stream Frames, a Answer, send model.Send) error {
	for {
		ev, err := stream.Next()
		atEnd := errors.Is(err, io.EOF)
		if err != nil && !atEnd {
			return s.NetworkError(ctx, "read the stream", key, err)
		}
		data := bytes.TrimSpace(ev.Data)
		switch {
		case ev.Failed && (!atEnd || json.Valid(data) || !LooksJSON(data)):
			return s.EventError(data, key)
		case atEnd && !json.Valid(data) && LooksJSON(data):
			if len(data) == 0 && a.Complete() {
				return nil
			}
			return s.EndError(stream, key)
		case len(data) == 0:
			continue
		}
		if err := s.Check(data, key); err != nil {
			return err
		}
		parts, err := a.Event(data)
		if err != nil {
			return err
		}
		if len(parts) > 0 {
			if err := send(Chunk(parts...)); err != nil {
				return err
			}
		}
		if a.Done() {
			return nil
		}
	}
}

// Check refuses what is no JSON, and what is an error of the server, which some report
// after they have said 200.
func (s *Server) Check(raw json.RawMessage, key string) error {
	if err := schema.Check(raw); err != nil {
		if !LooksJSON(raw) {
			return s.TextError(raw, key)
		}
		return status.Publicf(status.Internal, "the server's answer can't be read: %w", err)
	}
	var head struct {
		Type json.RawMessage `json:"type"`
	}
	listed := false
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) {
		_, listed = FailureOf(raw)
	}
	_ = json.Unmarshal(raw, &head) // only an error counts
	if listed || IsFailure(raw) || String(head.Type) == "error" {
		return s.BodyError(raw, key)
	}
	return nil
}

// Chunk is a piece of a model's message.
func Chunk(parts ...content.Part) *model.Chunk {
	return &model.Chunk{Role: content.RoleModel, Content: parts}
}

// ErrForm is the error of an answer that is not what the API named says; cause quotes the
// answer and stays in the process.
func ErrForm(api string, cause error) *status.Error {
	return status.Publicf(status.Internal, "the server's answer does not have the form of the %s API", api).WithCause(cause)
}

// ErrTooManyParts is the error of an answer of more than [MaxParts] parts.
func ErrTooManyParts() *status.Error {
	return status.Publicf(status.ResourceExhausted, "the server's answer exceeds the limit of %d parts", MaxParts)
}

// ShowsPartial reports whether arguments of n bytes are to be shown while more come, of
// which shown were shown before: each time they have grown by a quarter, so that the work
// is that of their length.
func ShowsPartial(n, shown int) bool {
	const least = 16
	return n >= shown+shown/4+least
}

// PartialCall is a tool request whose arguments are still coming: its input is the text so
// far with what is open closed, or absent while that is no JSON.
func PartialCall(name, ref, arguments string) content.Part {
	partial := true
	req := &content.ToolRequest{Name: name, Ref: ref, Partial: &partial}
	if arguments != "" {
		if input, ok := format.Complete(arguments); ok {
			req.Input = input
		}
	}
	return content.Part{ToolRequest: req}
}
