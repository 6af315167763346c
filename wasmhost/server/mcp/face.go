package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"sync"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Config says what clients see, and how it is run. Only Registry is required.
type Config struct {
	Registry *registry.Registry
	// Run runs an action for a client; nil runs it without more. ctx is the call's: it ends when the client has
	// cancelled the call or left. emit is nil where the client has not asked for progress.
	Run func(ctx context.Context, a action.Action, in json.RawMessage, emit action.Emit) (json.RawMessage, error)
	// Context puts the action context that a caller gives, a JSON object, into that of a call; nil believes it all.
	Context func(ctx context.Context, given json.RawMessage) (context.Context, error)
	// List is called before something is listed; nil lets all lists be made. The function that it returns ends the
	// listing.
	List func(ctx context.Context) (done func(), err error)
	// Listen is called when a client wants to be told of changes, until the function that it returns is called.
	Listen func(ctx context.Context) (done func(), err error)
	// Changed returns a channel that is closed when the tools change next; nil tells clients of no changes.
	Changed func() <-chan struct{}
	// Hints returns what is known, not what is claimed, of a tool, such as [HintsOf]; nil knows nothing.
	Hints func(key action.Key) (Hints, bool)
	// Tell returns the text of an error that may go to the client; nil is [status.ToWire].
	Tell func(err error) status.Wire
	// Log gets errors of what can't be listed, and panics; nil drops them.
	Log *slog.Logger
	// Version is that of the server, as clients see it.
	Version string
}

// newRevision is the first revision of the protocol that has no handshake and no sessions.
const newRevision = "2026-07-28"

// Face is a registry as clients see it. It is safe for concurrent use.
type Face struct {
	c Config
	// request is the context of the HTTP request that the face answers; nil where it serves a stream.
	request  context.Context //nolint:containedctx // the SDK runs handlers under contexts of its own
	handlers *handlers       // of the request
}

// New makes a face.
func New(c Config) *Face {
	if c.Run == nil {
		c.Run = func(ctx context.Context, a action.Action, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			return a.RunJSON(ctx, in, emit)
		}
	}
	if c.Context == nil {
		c.Context = func(ctx context.Context, given json.RawMessage) (context.Context, error) {
			return action.WithContext(ctx, given), nil
		}
	}
	if c.List == nil {
		c.List = func(context.Context) (func(), error) { return func() {}, nil }
	}
	if c.Listen == nil {
		c.Listen = c.List
	}
	if c.Tell == nil {
		c.Tell = func(err error) status.Wire { return status.ToWire(err, false) }
	}
	if c.Hints == nil {
		c.Hints = func(action.Key) (Hints, bool) { return Hints{}, false }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Face{c: c}
}

// handlers are those of one HTTP request, which must not outlive it.
type handlers struct {
	mu    sync.Mutex // guards over
	over  bool
	under sync.WaitGroup
}

func (h *handlers) begin() bool {
	if h == nil {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return false
	}
	h.under.Add(1)
	return true
}

func (h *handlers) end() {
	if h != nil {
		h.under.Done()
	}
}

func (h *handlers) wait() {
	h.mu.Lock()
	h.over = true
	h.mu.Unlock()
	h.under.Wait()
}

// under is the context in which something is looked up: the request's, which knows the tenant and the caller.
func (f *Face) under(ctx context.Context) context.Context {
	if f.request != nil {
		return f.request
	}
	return ctx
}

// running is the context of something that runs: the request's, until it, or the SDK's, ends.
func (f *Face) running(ctx context.Context) (context.Context, func()) {
	inner, cancel := context.WithCancelCause(f.under(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return inner, func() {
		stop()
		cancel(nil)
	}
}

// failure is an error as a protocol error: its code tells what is missing or malformed from what has failed.
func (f *Face) failure(err error) error {
	return f.failureOf(err, "")
}

func (f *Face) failureOf(err error, what string) error {
	wire := f.c.Tell(err)
	text := wire.Message
	if what != "" {
		text = fmt.Sprintf("%s: %s", what, text)
	}
	return protocolError(codeOf(err), text, wire)
}

// toolError is the result of a tool that failed, which the client's model reads.
func (f *Face) toolError(err error) *sdk.CallToolResult {
	wire := f.c.Tell(err)
	text := wire.Status + ": " + wire.Message
	if after := status.Convert(err).RetryAfter; after > 0 {
		text += " (try again in " + strconv.FormatInt(int64(math.Ceil(after.Seconds())), 10) + " s)"
	}
	result := &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: abi.Clean(text, maxErrorText)}}, IsError: true}
	result.Meta = sdk.Meta{errorKey: wire}
	return result
}
