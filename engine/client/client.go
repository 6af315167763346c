// Package client runs flows of a server that speaks Genkit's flow protocol: this
// engine's, Genkit's JS and Go servers, and others.
//
// It owns the protocol's other end: bodies, the events of a stream, and the error that a failure
// looks like from there. Use:
//
//	out, err := client.RunFlow[string, Menu](ctx, "https://example.com/menu", "pirates")
//	for event, err := range client.StreamFlow[string, Menu, string](ctx, url, "pirates", client.WithHeader("Authorization", key)) {
//		if err != nil { … }
//		if event.Done { use(event.Output) } else { show(event.Chunk) }
//	}
//
// Failures are *status.Error with the status that the server named. Their text is the
// server's and therefore not public. Everything that a server sends is bounded. The
// functions may be called concurrently.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

const (
	streamIDHeader = "X-Genkit-Stream-Id"
	eventStream    = "text/event-stream"

	defaultAnswerBytes = 64 << 20
	defaultEventBytes  = 16 << 20
	maxErrorBytes      = 64 << 10
	maxErrorText       = 2 << 10
)

// Option is a choice for one call.
type Option func(*options)

type options struct {
	client      *http.Client
	header      http.Header
	streamID    string
	onStreamID  func(id string)
	answerBytes int64
	eventBytes  int
	init        any
}

// WithInit sends the value at the start of a bidirectional flow, or of an agent:
//
//	client.StreamFlow[agent.Input, agent.Output, agent.Chunk](ctx, url, in, client.WithInit(agent.Init{SessionID: "ada"}))
func WithInit(v any) Option { return func(o *options) { o.init = v } }

// WithHTTPClient makes the call with c. Without it, and where c does not say what to
// do about redirects, none is followed, so that what the headers hold goes to nobody
// else.
func WithHTTPClient(c *http.Client) Option { return func(o *options) { o.client = c } }

// WithHeader sends a header, such as Authorization.
func WithHeader(name, value string) Option { return func(o *options) { o.header.Set(name, value) } }

// WithStreamID reads a stream that the server keeps, from its beginning, and starts no
// flow; NOT_FOUND when it is kept no longer or is another caller's.
func WithStreamID(id string) Option { return func(o *options) { o.streamID = id } }

// OnStreamID tells fn the id of a stream before its first event, "" when the server
// does not keep it.
func OnStreamID(fn func(id string)) Option { return func(o *options) { o.onStreamID = fn } }

// WithMaxAnswerBytes bounds the answer of [RunFlow]: 64 MiB.
func WithMaxAnswerBytes(n int64) Option { return func(o *options) { o.answerBytes = n } }

// WithMaxEventBytes bounds each event of a stream: 16 MiB. A stream may have any
// number of them.
func WithMaxEventBytes(n int) Option { return func(o *options) { o.eventBytes = n } }

func choose(opts []Option) *options {
	o := &options{header: http.Header{}, answerBytes: defaultAnswerBytes, eventBytes: defaultEventBytes}
	for _, opt := range opts {
		opt(o)
	}
	c := http.Client{}
	if o.client != nil {
		c = *o.client
	}
	if c.CheckRedirect == nil {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	o.client = &c
	return o
}

// RunFlow runs the flow at url and returns its result. In and Out may be
// json.RawMessage, which goes and comes as it is; a nil one is no input. A flow that is
// on its way when ctx ends is cancelled by servers that heed it.
func RunFlow[In, Out any](ctx context.Context, url string, in In, opts ...Option) (out Out, err error) {
	o := choose(opts)
	resp, err := o.post(ctx, url, in, "application/json")
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, o.answerBytes+1))
	if err != nil {
		return out, broken(ctx, err)
	}
	if int64(len(body)) > o.answerBytes {
		return out, status.Errorf(status.ResourceExhausted, "the server's answer exceeds the limit of %d bytes", o.answerBytes)
	}
	var answer struct {
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return out, status.Errorf(status.DataLoss, "the server's answer is not JSON: %w", err)
	}
	if answer.Error != nil && string(answer.Error) != "null" {
		return out, failure(answer.Error, status.Unknown)
	}
	if answer.Result == nil {
		answer.Result = json.RawMessage("null") // JS leaves undefined out
	}
	return decode[Out](answer.Result, "result")
}

// StreamFlow runs the flow at url and yields its chunks and then, as an event with
// Done set, its result. A failure is the last thing yielded. Breaking out of the loop
// leaves the stream, which cancels a flow whose stream is not kept. The result may be
// ranged over once for each run that is wanted.
func StreamFlow[In, Out, Chunk any](ctx context.Context, url string, in In, opts ...Option) iter.Seq2[action.Event[Out, Chunk], error] {
	return func(yield func(action.Event[Out, Chunk], error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		err := stream(ctx, url, in, choose(opts), func(member string, raw json.RawMessage) (more bool, err error) {
			var e action.Event[Out, Chunk]
			if member == "message" {
				e.Chunk, err = decode[Chunk](raw, "chunk")
			} else {
				e.Done = true
				e.Output, err = decode[Out](raw, "result")
			}
			if err != nil {
				return false, err
			}
			return yield(e, nil) && !e.Done, nil
		})
		if err != nil {
			yield(action.Event[Out, Chunk]{}, err)
		}
	}
}

// stream passes the frames of a stream on until the last, or until each wants no more.
func stream[In any](ctx context.Context, url string, in In, o *options, each func(member string, raw json.RawMessage) (bool, error)) error {
	resp, err := o.post(ctx, url, in, eventStream)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if o.onStreamID != nil {
		o.onStreamID(resp.Header.Get(streamIDHeader))
	}
	events := newDecoder(resp.Body, o.eventBytes)
	for {
		data, err := events.next()
		switch {
		case errors.Is(err, io.EOF):
			return status.Errorf(status.Unavailable, "the stream ended before its result")
		case errors.Is(err, errTooBig):
			return status.Errorf(status.ResourceExhausted, "an event of the stream exceeds the limit of %d bytes", o.eventBytes)
		case err != nil:
			return broken(ctx, err)
		}
		member, raw, err := frame(data)
		if err != nil {
			return err
		}
		if more, err := each(member, raw); !more || err != nil {
			return err
		}
	}
}

// frame takes {"message": …}, {"result": …} or {"error": …} apart.
func frame(data []byte) (member string, raw json.RawMessage, err error) {
	var f struct {
		Message json.RawMessage `json:"message"`
		Result  json.RawMessage `json:"result"`
		Error   json.RawMessage `json:"error"`
		Status  string          `json:"status"` // of an error whose frame has no member around it
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return "", nil, status.Errorf(status.DataLoss, "the stream holds what is not JSON: %w", err)
	}
	switch {
	case f.Error != nil:
		return "", nil, failure(f.Error, status.Unknown)
	case f.Status != "":
		return "", nil, failure(data, status.Unknown)
	case f.Message != nil:
		return "message", f.Message, nil
	case f.Result != nil:
		return "result", f.Result, nil
	case string(bytes.TrimSpace(data)) == "{}":
		return "result", json.RawMessage("null"), nil // JS: {result: undefined}
	}
	return "", nil, status.Errorf(status.DataLoss, "a frame of the stream is neither message, result nor error")
}

// post sends the call; an answer that is no success comes as an error.
func (o *options) post(ctx context.Context, url string, in any, accept string) (*http.Response, error) {
	body, err := envelope(in, o.init)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, status.Errorf(status.InvalidArgument, "flow url: %w", err)
	}
	req.Header = o.header
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", accept)
	if o.streamID != "" {
		req.Header.Set(streamIDHeader, o.streamID)
	}
	resp, err := o.client.Do(req)
	if err != nil {
		return nil, broken(ctx, err)
	}
	switch {
	case resp.StatusCode == http.StatusNoContent && accept == eventStream:
		_ = resp.Body.Close()
		return nil, status.Errorf(status.NotFound, "stream not found")
	case resp.StatusCode != http.StatusOK:
		defer resp.Body.Close()
		return nil, refused(resp)
	}
	return resp, nil
}

func envelope(in, init any) ([]byte, error) {
	body := []byte{'{'}
	for _, member := range []struct {
		name, what string
		value      any
	}{{`"data":`, "input", in}, {`"init":`, "init", init}} {
		raw, isRaw := member.value.(json.RawMessage)
		if !isRaw && (member.value != nil || member.what == "input") {
			var err error
			if raw, err = rawjson.Encode(member.value); err != nil {
				return nil, status.Errorf(status.InvalidArgument, "encode the %s: %w", member.what, err)
			}
		}
		if len(raw) == 0 {
			continue
		}
		if isRaw && !json.Valid(raw) {
			return nil, status.Errorf(status.InvalidArgument, "the %s is not valid JSON", member.what)
		}
		if len(body) > 1 {
			body = append(body, ',')
		}
		body = append(append(body, member.name...), raw...)
	}
	return append(body, '}'), nil
}

func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return status.Convert(context.Cause(ctx)).WithCause(err)
	}
	return status.Errorf(status.Unavailable, "reach the server: %w", err)
}

// refused reads the failure of an answer.
func refused(resp *http.Response) error {
	code := status.FromHTTP(resp.StatusCode)
	if code == status.OK {
		code = status.Unknown
	}
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes)) // report the data that came
	e := failure(raw, code)
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e = e.WithRetryAfter(time.Duration(min(seconds, 24*60*60)) * time.Second)
	}
	if e.Message == "" {
		e = status.Errorf(e.Code, "the server answered %d", resp.StatusCode)
	}
	return e
}

// failure reads Genkit's {status, message, details?}, the same in a member "error", an
// RFC 9457 problem with a status_name, or plain text, of which some servers make their
// failures. otherwise is the code of a failure that names none.
func failure(raw []byte, otherwise status.Code) *status.Error {
	var w struct {
		Status     json.RawMessage `json:"status"` // a number in a problem
		StatusName string          `json:"status_name"`
		Message    string          `json:"message"`
		Detail     string          `json:"detail"`
		Details    json.RawMessage `json:"details"`
		Error      json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		return status.Errorf(otherwise, "%s", clip(text))
	}
	if w.Error != nil && w.Status == nil && w.StatusName == "" {
		return failure(w.Error, otherwise)
	}
	code := otherwise
	var name string
	_ = json.Unmarshal(w.Status, &name)
	for _, n := range []string{w.StatusName, name} {
		if c, ok := codeOf(n); ok {
			code = c
			break
		}
	}
	message := w.Message
	if message == "" {
		message = w.Detail
	}
	e := status.Errorf(code, "%s", clip(message))
	if len(w.Details) > 0 && string(w.Details) != "null" {
		e = e.WithDetails(w.Details)
	}
	return e
}

// codeOf reads the names that servers write, also those that are not Genkit's own.
func codeOf(name string) (status.Code, bool) {
	switch name {
	case "":
		return 0, false
	case "OK":
		return status.Unknown, true // a failure is never fine
	case "INTERNAL_SERVER_ERROR": // Genkit Go before July 2026
		return status.Internal, true
	}
	return status.Parse(strings.ReplaceAll(name, " ", "_")) // express: "INVALID ARGUMENT"
}

// clip shortens a text and removes characters that do not belong into a line of a log.
func clip(text string) string {
	text = strings.ToValidUTF8(strings.TrimSpace(text), "\uFFFD")
	if len(text) <= maxErrorText {
		return text
	}
	cut := maxErrorText
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

var rawType = reflect.TypeFor[json.RawMessage]()

// decode reads T; raw messages pass unread, and numbers in an interface keep their
// digits.
func decode[T any](raw json.RawMessage, what string) (v T, err error) {
	if reflect.TypeFor[T]() == rawType {
		v, _ = any(raw).(T)
		return v, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return v, status.Errorf(status.DataLoss, "the %s is not a %T: %w", what, v, err)
	}
	return v, nil
}
