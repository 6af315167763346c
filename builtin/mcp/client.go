package mcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// client is one server: its connection while there is one, and what it last offered.
type client struct {
	name   string
	server ServerConfig
	host   *HostConfig

	work sync.WaitGroup // goroutines

	mu       sync.Mutex // guards the fields below
	closed   bool
	conn     *conn
	current  *offer
	stale    bool // the server has told of a change, or the connection is lost
	flight   *fetching
	failures int // in a row, by which the back-off grows
	retryAt  time.Time
	lastErr  error
	ended    *status.Error         // why the last process's output is no longer read, where that is its fault
	known    map[string]definition // tools that were listed, as they were first, or as they were accepted since
	shown    map[string]definition // tools that have changed, as the caller was asked about them
	calls    map[*call]bool        // that run or wait for an answer
}

// fetching is a listing that several may wait for. It belongs to none of them.
type fetching struct {
	done   chan struct{}
	cancel context.CancelFunc
	offer  *offer
	err    error
}

func newClient(name string, server ServerConfig, host *HostConfig) *client {
	return &client{name: name, server: server, host: host, known: map[string]definition{}, shown: map[string]definition{}, calls: map[*call]bool{}}
}

// failure is an error of this server with a text for callers.
func (c *client) failure(code status.Code, format string, args ...any) *status.Error {
	return status.Publicf(code, "MCP server %q: %s", c.name, fmt.Sprintf(format, args...))
}

// get returns what the server offers: as cached, or asked anew. In the time after a failure it fails at once.
func (c *client) get(ctx context.Context) (*offer, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, c.failure(status.Unavailable, "the host is closed")
	}
	if c.current != nil && !c.stale && time.Now().Before(c.current.until) {
		defer c.mu.Unlock()
		return c.current, nil
	}
	if wait := time.Until(c.retryAt); wait > 0 && c.flight == nil {
		defer c.mu.Unlock()
		return nil, status.Convert(c.lastErr).WithRetryAfter(wait)
	}
	f := c.flight
	if f == nil {
		f = c.fetch(ctx)
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.offer, f.err
	case <-ctx.Done():
		return nil, status.Convert(ctx.Err())
	}
}

// fetch starts a listing, which outlives the caller that needs it first: others may wait for it. The caller holds c.mu.
func (c *client) fetch(ctx context.Context) *fetching {
	working, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.host.ConnectTimeout)
	f := &fetching{done: make(chan struct{}), cancel: cancel}
	c.flight, c.stale = f, false
	c.work.Go(func() {
		defer close(f.done)
		defer cancel()
		f.offer, f.err = c.load(working)
		if f.err != nil && errors.Is(working.Err(), context.DeadlineExceeded) {
			f.err = c.failure(status.Unavailable, "it did not answer within %s", c.host.ConnectTimeout).WithCause(f.err)
		}
		c.mu.Lock()
		c.flight = nil
		if f.err == nil {
			c.current = f.offer
			c.mu.Unlock()
			return
		}
		gone := c.conn
		c.conn, c.current = nil, nil
		c.failed(f.err)
		c.mu.Unlock()
		if gone != nil {
			gone.close()
		}
		c.host.Logger.Warn("an MCP server can't be used", slog.String("server", c.name), slog.Any("error", f.err))
	})
	return f
}

const (
	firstRetry = time.Second
	lastRetry  = time.Minute
	// steady is how long a connection lasts that makes earlier failures forgotten.
	steady = 30 * time.Second
)

// failed notes a failure. The caller holds c.mu.
func (c *client) failed(err error) {
	c.lastErr = err
	c.retryAt = time.Now().Add(min(firstRetry<<min(c.failures, 10), lastRetry))
	c.failures++
}

// load connects where that is needed, and lists.
func (c *client) load(ctx context.Context) (*offer, error) {
	c.mu.Lock()
	live := c.conn
	c.mu.Unlock()
	if live == nil {
		var err error
		if live, err = c.connect(ctx); err != nil {
			return nil, err
		}
	}
	return c.list(ctx, live)
}

// conn is a connection to the server.
type conn struct {
	session *sdk.ClientSession
	since   time.Time
	// end ends it with all that belongs to it, and waits. It may be called again.
	end func()
}

func (n *conn) close() { n.end() }

// connect starts the server or reaches it, and shakes hands.
func (c *client) connect(ctx context.Context) (*conn, error) {
	var transport sdk.Transport
	var ends func() // what the SDK does not end
	if c.server.URL != "" {
		web := c.web()
		transport, ends = web.transport(), web.close
	} else {
		p, err := c.start()
		if err != nil {
			return nil, err
		}
		transport, ends = p, p.stop
	}
	session, err := c.sdkClient().Connect(ctx, transport, nil)
	if err != nil {
		ends()
		return nil, c.convert(ctx, err)
	}
	n := &conn{session: session, since: time.Now()}
	n.end = sync.OnceFunc(func() {
		ends()
		_ = session.Close() // it is lost either way
		ends()              // of connections that this has left idle
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.work.Go(n.end)
		return nil, c.failure(status.Unavailable, "the host is closed")
	}
	c.conn = n
	c.work.Go(func() {
		_ = session.Wait()
		c.lost(n)
	})
	return n, nil
}

// lost notes that a connection has ended by itself: the next use connects anew, at once when this one has lasted.
func (c *client) lost(n *conn) {
	c.mu.Lock()
	if c.conn != n {
		c.mu.Unlock()
		return
	}
	c.conn, c.stale = nil, true
	if time.Since(n.since) > steady {
		c.failures = 0
	}
	if c.failures++; c.failures > 1 {
		c.lastErr = c.failure(status.Unavailable, "it has ended %d times soon after its start", c.failures)
		c.retryAt = time.Now().Add(min(firstRetry<<min(c.failures-2, 10), lastRetry))
	}
	c.mu.Unlock()
	n.end()
	c.host.Logger.Warn("an MCP server has ended its connection", slog.String("server", c.name))
}

// faulty notes what a server's process has done wrong, which ends its connection.
func (c *client) faulty(why *status.Error) *status.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = why
	return why
}

// changed notes that the server's lists have changed.
func (c *client) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale = true
}

func (c *client) close() {
	c.mu.Lock()
	n, f := c.conn, c.flight
	c.closed, c.conn, c.current = true, nil, nil
	for p := range c.calls {
		p.cancel()
	}
	c.mu.Unlock()
	if f != nil {
		f.cancel()
	}
	if n != nil {
		n.close()
	}
	c.work.Wait()
}

func (c *client) sdkClient() *sdk.Client {
	changed := func() { c.changed() }
	return sdk.NewClient(&sdk.Implementation{Name: "genkit-wasm", Version: c.host.Version}, &sdk.ClientOptions{
		Capabilities:               &sdk.ClientCapabilities{},
		ToolListChangedHandler:     func(context.Context, *sdk.ToolListChangedRequest) { changed() },
		PromptListChangedHandler:   func(context.Context, *sdk.PromptListChangedRequest) { changed() },
		ResourceListChangedHandler: func(context.Context, *sdk.ResourceListChangedRequest) { changed() },
		ElicitationHandler:         c.elicit,
	})
}

const maxErrorText = 1 << 10

// convert is an error of the SDK as one of this server. What the server itself says is cleaned, and shown.
func (c *client) convert(ctx context.Context, err error) error {
	if own, ok := errors.AsType[*status.Error](err); ok {
		return own
	}
	if own := noted(ctx); own != nil {
		return own.WithCause(err)
	}
	if said, ok := errors.AsType[*jsonrpc.Error](err); ok && said.Code != codeRejected {
		return c.failure(codeOf(said.Code), "%s", c.redacted(said.Message)).WithCause(err)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return status.Convert(err)
	case errors.Is(err, sdk.ErrConnectionClosed):
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ended != nil {
			return c.ended.WithCause(err)
		}
		return c.failure(status.Unavailable, "the connection was closed").WithCause(err)
	}
	return c.failure(status.Unavailable, "the connection failed, or it answers with something else than the protocol").WithCause(err)
}

// codeRejected is what the SDK reports of requests that were not sent.
const codeRejected = -32005

func codeOf(code int64) status.Code {
	switch code {
	case jsonrpc.CodeInvalidParams:
		return status.InvalidArgument
	case jsonrpc.CodeMethodNotFound:
		return status.Unimplemented
	}
	return status.Unknown
}

// redacted is text of the server without what it was given as secret: the values of its variables and headers.
func (c *client) redacted(text string) string {
	for _, values := range []map[string]string{c.server.Env, c.server.Headers} {
		for _, value := range values {
			value = strings.TrimPrefix(value, "Bearer ")
			if len(value) >= 8 {
				text = strings.ReplaceAll(text, value, "[redacted]")
			}
		}
	}
	return abi.Line(text, maxErrorText)
}
