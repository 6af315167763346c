// Package wire is what the models of remote servers share: HTTP within limits that keeps a
// key with its server, server-sent events, what an error says and when to try again, the
// keys of requests and accounts, the names of tools, and a provider's list of actions.
//
// It owns no API: each package beside it maps Genkit's requests to the JSON of one. Use:
//
//	s := &wire.Server{Name: "acme", BaseURL: "https://api.acme.com/v1", Authorize: wire.Bearer}
//	err := s.Open(nil)
//	…
//	resp, err := s.Ask(ctx, wire.Outgoing{Path: "/chat", Key: s.Key(ctx), Accept: wire.EventStream, Body: body})
package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
)

// Content types of most bodies.
const (
	JSON        = "application/json"
	EventStream = "text/event-stream"
)

// Defaults of the limits of an answer and of one event of a stream.
const (
	DefaultMaxResponseBytes = 32 << 20
	DefaultMaxChunkBytes    = 4 << 20
)

// Server is a server of models and how it is asked. Set the fields, then call
// [Server.Open]; it is safe for concurrent use from then on.
type Server struct {
	// Name is the provider's name.
	Name string
	// BaseURL is what the paths of requests are added to; it ends without a slash.
	BaseURL string
	// APIKey is the provider's key; KeyVariable names where it comes from, for an error.
	APIKey, KeyVariable string
	// Headers are added to every request; their values are kept out of errors.
	Headers http.Header
	// AccountHeaders are those of Headers, in canonical form, that name the account of
	// APIKey: a request with another account's key goes without.
	AccountHeaders []string
	// Authorize puts a key into the headers of a request.
	Authorize func(h http.Header, key string)
	// MaxResponseBytes bounds one answer.
	MaxResponseBytes int64

	client    *http.Client
	transport *http.Transport // of its own, else nil
}

// Bearer authorizes as OAuth does.
func Bearer(h http.Header, key string) { h.Set("Authorization", "Bearer "+key) }

// Open checks the server's fields, INVALID_ARGUMENT where they can't work, and makes it
// ready. A nil client stands for one of its own. The redirect policy is replaced: a redirect
// is followed only when it keeps method, scheme and host.
func (s *Server) Open(client *http.Client) error {
	switch {
	case s.Name == "" || strings.Contains(s.Name, "/"):
		return status.Publicf(status.InvalidArgument, "provider name %q is empty or holds a slash", s.Name)
	case s.MaxResponseBytes < 0:
		return status.Publicf(status.InvalidArgument, "the limits of provider %q must not be negative", s.Name)
	}
	s.MaxResponseBytes = Or(s.MaxResponseBytes, DefaultMaxResponseBytes)
	if err := CheckKey(s.APIKey); err != nil {
		return err
	}
	// The URL may hold a password, so that no text of it is shown.
	u, err := url.Parse(s.BaseURL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || strings.ContainsAny(s.BaseURL, "?#") {
		return status.Publicf(status.InvalidArgument, "the base URL of provider %q must be http(s)://host/path without user, query and fragment", s.Name)
	}
	if client == nil {
		s.transport = NewTransport()
		client = &http.Client{Transport: s.transport}
	}
	own := *client
	own.CheckRedirect = sameServer
	s.client = &own
	return nil
}

// Close lets go of idle connections. Calls under way go on.
func (s *Server) Close() error {
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	return nil
}

// NewTransport returns a transport without a proxy.
func NewTransport() *http.Transport {
	const dial, handshake, idle = 30 * time.Second, 10 * time.Second, 90 * time.Second
	const idlePerHost = 16
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dial}).DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   handshake,
		IdleConnTimeout:       idle,
		MaxIdleConnsPerHost:   idlePerHost,
		ExpectContinueTimeout: time.Second,
	}
}

// FromEnvironment returns a client that uses the proxy of HTTPS_PROXY and its kin.
func FromEnvironment() *http.Client {
	transport := NewTransport()
	transport.Proxy = http.ProxyFromEnvironment
	return &http.Client{Transport: transport}
}

// maxRedirects bounds those that [sameServer] allows.
const maxRedirects = 3

// sameServer stops at a redirect that would carry the request's key and prompt to
// another server, or turn it into a GET; the caller sees the 3xx then.
func sameServer(next *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > maxRedirects || next.Method != first.Method || next.URL.Scheme != first.URL.Scheme || next.URL.Host != first.URL.Host {
		return http.ErrUseLastResponse
	}
	return nil
}

// Outgoing is a request to be made. A body makes it a POST, of JSON where ContentType is
// empty; without one it is a GET.
type Outgoing struct {
	Path, Key, Accept, ContentType string
	Header                         http.Header // may be nil
	Body                           []byte
	// Frames reads the events of a streamed answer, of at most maxBytes each; nil is that of
	// server-sent events.
	Frames func(r io.Reader, maxBytes int) Frames
	// Authorize puts Key into the headers, in the place of the server's own; nil is that.
	Authorize func(h http.Header, key string)
	// Sign, where it is set, signs the whole request in the place of Authorize; Key is what is
	// kept out of errors then.
	Sign func(req *http.Request)
}

// Do makes one request. The caller closes the answer's body.
func (s *Server) Do(ctx context.Context, out Outgoing) (*http.Response, error) {
	method, reader := http.MethodGet, io.Reader(nil)
	if out.Body != nil {
		method, reader = http.MethodPost, bytes.NewReader(out.Body)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.BaseURL+out.Path, reader)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "genkit-wasm")
	req.Header.Set("X-Goog-Api-Client", registry.ClientHeaderOf(ctx))
	telemetry.Inject(ctx, req.Header) // a gateway between continues the trace
	if out.Body != nil {
		req.Header.Set("Content-Type", Or(out.ContentType, JSON))
	}
	req.Header.Set("Accept", out.Accept)
	for name, values := range out.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	for name, values := range s.Headers {
		if canonical := http.CanonicalHeaderKey(name); !slices.Contains(s.AccountHeaders, canonical) || !ofAccount(ctx) {
			req.Header[canonical] = values
		}
	}
	switch {
	case out.Sign != nil:
		out.Sign(req)
	case out.Key == "":
	case out.Authorize != nil:
		out.Authorize(req.Header, out.Key)
	default:
		s.Authorize(req.Header, out.Key)
	}
	return s.client.Do(req)
}

// Ask makes a request and returns the answer, which is a success; the caller closes its
// body.
func (s *Server) Ask(ctx context.Context, out Outgoing) (*http.Response, error) {
	resp, err := s.Do(ctx, out)
	if err != nil {
		return nil, s.NetworkError(ctx, "ask", out.Key, err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return resp, nil
	}
	defer resp.Body.Close()
	_, err = s.HTTPError(resp, out.Key)
	return nil, err
}

// Fetch makes a request and returns the whole body of a success.
func (s *Server) Fetch(ctx context.Context, out Outgoing) ([]byte, error) {
	resp, err := s.Ask(ctx, out)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(Bound(resp.Body, s.MaxResponseBytes))
	if err != nil {
		return nil, s.NetworkError(ctx, "read the answer", out.Key, err)
	}
	return raw, nil
}

// Read decodes a document of one of the server's APIs, of which api is the name. An error
// object in it fails the call.
func (s *Server) Read(raw []byte, v any, api, key string) error {
	if err := s.Check(raw, key); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return ErrForm(api, err)
	}
	return nil
}

// Drain reads to the end of a stream that has said that it is done, so that the
// connection can be used again, but waits for no slow server: cancel ends the request.
func Drain(body io.Reader, cancel func()) {
	const patience, most = 50 * time.Millisecond, 4 << 10
	timer := time.AfterFunc(patience, cancel)
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, body, most) // whatever is wrong now costs a connection, no more
}
