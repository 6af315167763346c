package wiretest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/anthropic"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire/wiretest"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/kittest"
)

const (
	document = `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"It is so."}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}`
	begin    = `event: message_start` + "\n" + `data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}` + "\n\n" +
		`event: content_block_start` + "\n" + `data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}` + "\n\n"
	piece = `event: content_block_delta` + "\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"It is"}}` + "\n\n"
	rest  = `event: content_block_delta` + "\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" so."}}` + "\n\n" +
		`event: content_block_stop` + "\n" + `data: {"type":"content_block_stop","index":0}` + "\n\n" +
		`event: message_delta` + "\n" + `data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}` + "\n\n" +
		`event: message_stop` + "\n" + `data: {"type":"message_stop"}` + "\n\n"
	failed = `{"type":"error","error":{"type":"overloaded_error","message":"no %s"},"request_id":"req_1"}`
)

// faulty is a provider with one fault.
type faulty struct {
	registry.Provider
	right *anthropic.Provider
	fault string
}

func (f faulty) WithKey(key func(ctx context.Context) (string, error)) registry.Provider {
	if f.fault == "has all accounts pay with its own key" {
		return f
	}
	return faulty{f.right.WithKey(key), f.right, f.fault}
}

func (f faulty) Resolve(ctx context.Context, key action.Key) (action.Action, error) {
	a, err := f.Provider.Resolve(ctx, key)
	if err != nil || f.fault == "" {
		return a, err
	}
	return faultyModel{a, f.fault}, nil
}

// faultyModel changes what goes in and comes out of a model.
type faultyModel struct {
	action.Action
	fault string
}

func (m faultyModel) RunJSON(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	said := emit
	if m.fault == "loses a chunk" && emit != nil {
		said = func(chunk json.RawMessage) error {
			if strings.Contains(string(chunk), "so.") {
				return nil
			}
			return emit(chunk)
		}
	}
	out, err := m.Action.RunJSON(ctx, in, said)
	if err == nil {
		if m.fault == "tells the key in its answers" {
			out = json.RawMessage(strings.Replace(string(out), "It is so.", wiretest.Key, 1))
		}
		return out, nil
	}
	e := status.Convert(err)
	switch m.fault {
	case "calls a stream that was cut off an internal error":
		if e.Code == status.Unavailable && e.RetryAfter == 0 {
			return nil, status.Errorf(status.Internal, "%s", e.Message)
		}
	case "calls all errors unavailable":
		e.Code = status.Unavailable
		return nil, e
	case "forgets when to try again":
		e.RetryAfter = 0
		return nil, e
	case "tells the key in its errors":
		e.Message = strings.ReplaceAll(e.Message, "[hidden]", wiretest.Key)
		return nil, e
	case "hides why a call has ended":
		return nil, errors.New("the call has ended")
	}
	return nil, err
}

// following is a server's transport that follows redirects by itself.
type following struct{ client *http.Client }

func (f following) RoundTrip(req *http.Request) (*http.Response, error) {
	again := req.Clone(req.Context())
	again.RequestURI = ""
	return f.client.Do(again) //nolint:gosec // of a test
}

func target(fault string) wiretest.Target {
	return wiretest.Target{
		New: func(t testing.TB, baseURL string, client *http.Client) wiretest.Provider {
			t.Helper()
			c := anthropic.Config{BaseURL: baseURL, APIKey: wiretest.Key, HTTPClient: client, MaxResponseBytes: wiretest.Limit, MaxChunkBytes: wiretest.MaxEvent}
			switch {
			case fault == "reads more than it may":
				c.MaxResponseBytes *= 4
			case fault == "follows redirects" && client == nil:
				c.HTTPClient = &http.Client{Transport: following{&http.Client{}}}
			}
			p, err := anthropic.New(c)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Close() })
			return faulty{p, p, fault}
		},
		Model: "anthropic/m", KeyOf: func(h http.Header) string { return h.Get("X-Api-Key") },
		Document: document, Stream: begin + piece + rest, Piece: piece, Error: failed,
	}
}

func TestTheKitFindsFaults(t *testing.T) {
	const (
		forms  = "both forms give one answer, in every split"
		cut    = "a stream that is cut off"
		errs   = "errors"
		keys   = "keys"
		cancel = "cancellation"
	)
	kittest.Run(t, func(t *testing.T, fault string) { t.Helper(); wiretest.Run(t, target(fault)) }, map[string]string{
		"loses a chunk": forms,
		"calls a stream that was cut off an internal error": cut,
		"has all accounts pay with its own key":             keys,
		"tells the key in its answers":                      keys,
		"calls all errors unavailable":                      errs,
		"forgets when to try again":                         errs,
		"tells the key in its errors":                       errs,
		"follows redirects":                                 "redirects",
		"reads more than it may":                            "too much",
		"hides why a call has ended":                        cancel,
	})
}
