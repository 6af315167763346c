package mcp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// checkEndpoint tells why a URL or its headers can't be used; empty when they can.
func checkEndpoint(text string, headers map[string]string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return "its url wants the scheme http or https, and a host"
	case u.User != nil:
		return "its url holds a credential, which belongs into a header"
	case u.Fragment != "":
		return "its url has a fragment"
	}
	for name, value := range headers {
		if !headerName(name) || strings.ContainsFunc(value, func(r rune) bool { return (r < ' ' && r != '\t') || r == 0x7f }) {
			return "a header has a name or value that can't be sent"
		}
	}
	return ""
}

func headerName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// web is the HTTP side of a connection: it adds the headers, bounds what comes back, follows no redirect, and ends all requests.
type web struct {
	c     *client
	base  *http.Transport
	flood flood

	mu      sync.Mutex // guards the fields below
	closed  bool
	running map[*func()]func() // what cancels each request whose answer is still read
}

func (c *client) web() *web {
	return &web{c: c, running: map[*func()]func(){}, base: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: c.timeout(), IdleConnTimeout: time.Minute,
		MaxResponseHeaderBytes: 64 << 10, MaxIdleConnsPerHost: 4, ForceAttemptHTTP2: true,
	}}
}

func (w *web) transport() sdk.Transport {
	return &sdk.StreamableClientTransport{
		Endpoint: w.c.server.URL, MaxRetries: 2, MaxEventSize: int(min(w.c.host.MaxMessageBytes, 1<<30)),
		HTTPClient: &http.Client{Transport: w, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// close ends all requests, and waits for those that are being answered.
func (w *web) close() {
	w.mu.Lock()
	w.closed = true
	for _, cancel := range w.running {
		cancel()
	}
	w.mu.Unlock()
	w.base.CloseIdleConnections()
}

var errClosed = errors.New("the connection is closed")

// RoundTrip implements [http.RoundTripper]. An answer that is no stream is read whole here, so that one that can't be read is the
// failure of its request, and not of the connection.
func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	if r.Method == http.MethodDelete { // what ends a session must not hold up the end
		ctx, cancel = context.WithTimeout(r.Context(), time.Second)
	}
	id := new(func())
	done := func() {
		cancel()
		w.mu.Lock()
		delete(w.running, id)
		w.mu.Unlock()
	}
	w.mu.Lock()
	closed := w.closed
	w.running[id] = cancel
	w.mu.Unlock()
	if closed && r.Method != http.MethodDelete { // by which a session is ended
		done()
		return nil, errClosed
	}
	r = r.Clone(ctx)
	for name, value := range w.c.server.Headers {
		r.Header.Set(name, value)
	}
	resp, err := w.base.RoundTrip(r)
	if err != nil {
		done()
		return nil, err
	}
	limit := w.c.host.MaxMessageBytes
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind == "text/event-stream" && resp.StatusCode == http.StatusOK {
		resp.Body = &stream{ReadCloser: resp.Body, web: w, done: done, note: noteOf(r.Context())}
		return resp, nil
	}
	defer done()
	if why := w.c.refusal(resp.StatusCode); why != nil && r.Method == http.MethodPost {
		_ = resp.Body.Close()
		return nil, why
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	_ = resp.Body.Close()
	if err == nil && int64(len(body)) > limit {
		err = w.c.tooBig()
	}
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// refusal is what a status of HTTP means that the protocol gives no meaning.
func (c *client) refusal(code int) error {
	switch {
	case code == http.StatusUnauthorized:
		return c.failure(status.FailedPrecondition, "it wants a credential, or refuses the one that it is sent (401)")
	case code == http.StatusForbidden:
		return c.failure(status.PermissionDenied, "it refuses the request (403)")
	case code >= 300 && code < 400:
		return c.failure(status.FailedPrecondition, "it redirects to another place (%d), which is not followed", code)
	}
	return nil
}

// stream is the body of an answer in events: bounded in how many come how fast, and in the bytes of each by the SDK.
type stream struct {
	io.ReadCloser
	web  *web
	done func()
	note *note
	line int // bytes of the line so far
	rest int64
}

// Read implements [io.Reader].
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	limit := s.web.c.host.MaxMessageBytes
	for _, b := range p[:n] {
		s.rest++
		if b != '\n' {
			if b != '\r' {
				s.line++
			}
			continue
		}
		if s.line == 0 { // the end of an event
			s.rest = 0
			if !s.web.flood.admit() {
				return 0, s.failed(s.web.c.floods())
			}
		}
		s.line = 0
	}
	if s.rest > limit {
		return 0, s.failed(s.web.c.tooBig())
	}
	return n, err
}

// failed ends the stream, and notes why for the call: the SDK would tell that it ended, and nothing else.
func (s *stream) failed(why *status.Error) error {
	s.note.set(why)
	s.done()
	return why
}

// Close implements [io.Closer].
func (s *stream) Close() error {
	s.done()
	return s.ReadCloser.Close()
}

// note is where a request's failure is noted for the call that it belongs to.
type note struct {
	mu  sync.Mutex // guards why
	why *status.Error
}

type noteKey struct{}

func withNote(ctx context.Context) context.Context { return context.WithValue(ctx, noteKey{}, &note{}) }

func noteOf(ctx context.Context) *note {
	n, _ := ctx.Value(noteKey{}).(*note)
	return n
}

// noted returns what was noted for ctx, nil when that is nothing.
func noted(ctx context.Context) *status.Error {
	n := noteOf(ctx)
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.why
}

func (n *note) set(why *status.Error) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.why = why
}
