// Package wiretest is the kit of the providers of models: how each of them treats keys, and
// a server that means no good. Use:
//
//	wiretest.Run(t, wiretest.Target{New: …, Model: "acme/m1", KeyOf: …, Document: …, Stream: …})
package wiretest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Key is the key that the providers of a [Target] have.
const Key = "sk-test-0123456789abcdef"

const (
	ownKey     = "sk-own-0123456789abcdef"
	accountKey = "sk-acct-0123456789abcdef"
)

// Limit is the most that the providers of a [Target] read of one answer, and MaxEvent of
// one event.
const (
	Limit    = 1 << 20
	MaxEvent = 64 << 10
)

// Provider is a provider that serves accounts.
type Provider interface {
	registry.Provider
	WithKey(key func(ctx context.Context) (string, error)) registry.Provider
}

// Target is a provider and what its server says.
type Target struct {
	// New makes a provider with [Key], [Limit] and [MaxEvent] of a server; client may be nil.
	New func(t testing.TB, baseURL string, client *http.Client) Provider
	// Model is the name of a model.
	Model string
	// KeyOf finds the key of a request.
	KeyOf func(h http.Header) string
	// Document and Stream are one answer in both forms.
	Document, Stream string
	// Piece is a whole event of a stream that goes on, with its empty line.
	Piece string
	// Error is the body of an error that says "no %s", and Tools is set where Document calls
	// tools of these names.
	Error string
	Tools []string
	// StreamType is the content type of Stream; empty is that of server-sent events. Of other
	// streams Failed writes an error such as Error as an event, and Endless are beginnings,
	// each with the text that follows it without end, of what exceeds a limit.
	StreamType string
	Failed     func(body string) string
	Endless    map[string][2]string
}

func (k *Target) streamType() string {
	if k.StreamType == "" {
		return "text/event-stream"
	}
	return k.StreamType
}

// Canned answers every request with one answer, without a network.
type Canned struct {
	Status      int
	ContentType string
	Header      http.Header
	Body        func() io.Reader

	mu       sync.Mutex // guards the fields below
	requests []*http.Request
	bodies   []string
}

// cannedKey is where a context holds the answer, so that runs in parallel have their own.
type cannedKey struct{}

// RoundTrip answers.
func (c *Canned) RoundTrip(req *http.Request) (*http.Response, error) {
	if own, ok := req.Context().Value(cannedKey{}).(*Canned); ok {
		c = own
	}
	var asked []byte
	if req.Body != nil {
		asked, _ = io.ReadAll(req.Body)
	}
	c.mu.Lock()
	c.requests, c.bodies = append(c.requests, req), append(c.bodies, string(asked))
	c.mu.Unlock()
	h := http.Header{"Content-Type": {c.ContentType}}
	maps.Copy(h, c.Header)
	return &http.Response{StatusCode: c.Status, Header: h, Body: io.NopCloser(c.Body())}, nil
}

// Last returns the last request and its body.
func (c *Canned) Last() (*http.Request, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests[len(c.requests)-1], c.bodies[len(c.bodies)-1]
}

// Answering is a canned answer of a text.
func Answering(status int, contentType, body string) *Canned {
	return &Canned{Status: status, ContentType: contentType, Body: func() io.Reader { return strings.NewReader(body) }}
}

// Model resolves a model.
func Model(t testing.TB, p registry.Provider, name string) model.Model {
	t.Helper()
	a, err := p.Resolve(t.Context(), action.Key{Kind: action.Model, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return model.From(a)
}

// Ask runs a model on a request in JSON, streaming where chunks is not nil.
func Ask(t testing.TB, m model.Model, request string, chunks *[]*model.Chunk) (*model.Response, error) {
	t.Helper()
	return ask(t.Context(), t, m, request, chunks)
}

func ask(ctx context.Context, t testing.TB, m model.Model, request string, chunks *[]*model.Chunk) (*model.Response, error) {
	t.Helper()
	req := &model.Request{}
	if err := json.Unmarshal([]byte(request), req); err != nil {
		t.Fatal(err)
	}
	var send model.Send
	if chunks != nil {
		send = func(c *model.Chunk) error {
			*chunks = append(*chunks, c)
			return nil
		}
	}
	return m.Generate(ctx, req, send)
}

const hello = `{"messages":[{"role":"user","content":[{"text":"hello"}]}]`

func (k *Target) hello() string {
	if len(k.Tools) == 0 {
		return hello + "}"
	}
	tools := make([]string, len(k.Tools))
	for i, name := range k.Tools {
		tools[i] = `{"name":"` + name + `","description":"d","inputSchema":{"type":"object"}}`
	}
	return hello + `,"tools":[` + strings.Join(tools, ",") + "]}"
}

func (k *Target) model(t testing.TB, c *Canned) model.Model {
	t.Helper()
	return Model(t, k.New(t, "http://canned", &http.Client{Transport: c}), k.Model)
}

// Shown is a response as it is compared: without latency, raw answer and names of requests.
func Shown(t testing.TB, resp *model.Response) string {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"message": resp.Message, "reason": resp.FinishReason, "text": resp.FinishMessage, "usage": resp.Usage})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// Run runs the kit.
func Run(t *testing.T, k Target) {
	t.Run("both forms give one answer, in every split", k.splits)
	t.Run("a stream that is cut off", k.cuts)
	t.Run("keys", k.keys)
	t.Run("errors", k.errors)
	t.Run("redirects", k.redirects)
	t.Run("too much", k.tooMuch)
	t.Run("cancellation", k.cancels)
}

// split gives a text in the pieces that its places cut, then one byte at a time where
// there are none.
type split struct {
	text string
	at   int
}

func (s *split) Read(p []byte) (int, error) {
	if s.text == "" {
		return 0, io.EOF
	}
	n := 1
	if s.at > 0 {
		n = s.at
	} else if s.at < 0 {
		n = len(s.text)
	}
	n = copy(p[:min(n, len(p))], s.text)
	s.text = s.text[n:]
	if s.at > 0 {
		if s.at -= n; s.at == 0 {
			s.at = -1
		}
	}
	return n, nil
}

// step is how far apart the places are at which a stream is cut.
func step() int {
	if testing.Short() || raced { // make long sends all
		return 17
	}
	return 1
}

func (k *Target) splits(t *testing.T) {
	resp, err := Ask(t, k.model(t, Answering(200, "application/json", k.Document)), k.hello(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Shown(t, resp)
	step, at := step(), 0
	m := k.model(t, &Canned{Status: 200, ContentType: k.streamType(), Body: func() io.Reader { return &split{k.Stream, at} }})
	for ; at < len(k.Stream); at += step { // 0 is one byte at a time
		var chunks []*model.Chunk
		resp, err := Ask(t, m, k.hello(), &chunks)
		if err != nil {
			t.Fatalf("split at %d: %v", at, err)
		}
		if got := Shown(t, resp); got != want {
			t.Fatalf("split at %d:\n got %s\nwant %s", at, got, want)
		}
		var said strings.Builder
		for _, chunk := range chunks {
			said.WriteString(chunk.Text())
		}
		if said.String() != resp.Text() {
			t.Fatalf("the chunks say %q, the response %q", said.String(), resp.Text())
		}
	}
}

func (k *Target) cuts(t *testing.T) {
	whole, step, at := false, step(), 0
	m := k.model(t, &Canned{Status: 200, ContentType: k.streamType(), Body: func() io.Reader { return strings.NewReader(k.Stream[:at]) }})
	for ; at < len(k.Stream); at += step {
		var chunks []*model.Chunk
		_, err := Ask(t, m, k.hello(), &chunks)
		switch {
		case err == nil:
			whole = true
		case whole:
			t.Fatalf("fewer bytes were an answer, and %d are none: %v", at, err)
		case status.Of(err) != status.Unavailable:
			t.Fatalf("cut off at %d: %v", at, err)
		}
	}
}

func (k *Target) keys(t *testing.T) {
	c := Answering(200, "application/json", k.Document)
	p := k.New(t, "http://canned", &http.Client{Transport: c})
	own := strings.TrimSuffix(k.hello(), "}") + `,"config":{"apiKey":"` + ownKey + `"}}`
	account := Model(t, p.WithKey(func(context.Context) (string, error) { return accountKey, nil }), k.Model)
	for name, asked := range map[string]struct {
		m             model.Model
		request, want string
	}{
		"the provider's":  {Model(t, p, k.Model), k.hello(), Key},
		"the request's":   {Model(t, p, k.Model), own, ownKey},
		"the account's":   {account, k.hello(), accountKey},
		"request first":   {account, own, ownKey},
		"of no one else:": {Model(t, p, k.Model), k.hello(), Key},
	} {
		resp, err := Ask(t, asked.m, asked.request, nil)
		if err != nil {
			t.Fatal(name, err)
		}
		req, body := c.Last()
		if got := k.KeyOf(req.Header); got != asked.want {
			t.Errorf("%s: the key is %q, want %q", name, got, asked.want)
		}
		out, _ := json.Marshal(resp)
		for _, text := range []string{body, string(out), req.URL.String()} {
			if strings.Contains(text, ownKey) || strings.Contains(text, accountKey) || strings.Contains(text, Key) {
				t.Errorf("%s: a key is in %s", name, text)
			}
		}
	}
	nobody := Model(t, p.WithKey(func(context.Context) (string, error) { return "", errors.New("no key") }), k.Model)
	if _, err := Ask(t, nobody, k.hello(), nil); err == nil {
		t.Error("an account without a key pays with another's")
	}
}

func (k *Target) errors(t *testing.T) {
	for code, want := range map[int]status.Code{
		400: status.InvalidArgument, 401: status.Unauthenticated, 403: status.PermissionDenied, 404: status.NotFound,
		429: status.ResourceExhausted, 500: status.Internal, 503: status.Unavailable, 529: status.Unavailable,
	} {
		c := Answering(code, "application/json", strings.ReplaceAll(k.Error, "%s", Key))
		c.Header = http.Header{"Retry-After": {"7"}, "Request-Id": {"req_1"}}
		_, err := Ask(t, k.model(t, c), k.hello(), nil)
		e := status.Convert(err)
		if status.Of(err) != want && code != 529 {
			t.Errorf("HTTP %d is %v, want %v", code, status.Of(err), want)
		}
		shown, _ := json.Marshal(status.ToWire(err, true))
		if !strings.Contains(string(shown), "no [hidden]") || strings.Contains(string(shown), Key) || !strings.Contains(string(shown), "req_1") {
			t.Errorf("HTTP %d says %s", code, shown)
		}
		if e.RetryAfter != 7*time.Second {
			t.Errorf("HTTP %d: retry after %v", code, e.RetryAfter)
		}
	}
	// An error that says nothing is none, beside an answer.
	if _, err := Ask(t, k.model(t, Answering(200, "application/json", strings.Replace(k.Document, "{", `{"error":{"message":null},`, 1))), k.hello(), nil); err != nil {
		t.Error("an empty error beside an answer:", err)
	}
	// After 200 an error may come as text, which is not tried again.
	for _, contentType := range []string{k.streamType(), "text/plain", "application/json"} {
		chunks := &[]*model.Chunk{}
		if contentType == "application/json" {
			chunks = nil
		}
		_, err := Ask(t, k.model(t, Answering(200, contentType, "Error: no "+Key+"\n")), k.hello(), chunks)
		if status.Of(err) != status.Unknown || !strings.Contains(err.Error(), "Error: no [hidden]") {
			t.Errorf("text as %s gives %v", contentType, err)
		}
	}
	// After 200 an error may come by itself, or as an event.
	failed := strings.ReplaceAll(k.Error, "%s", Key)
	bodies := []string{failed, "data: " + failed + "\n\n", "event: error\ndata: " + failed + "\n\n", k.begun() + k.Piece + "event: error\ndata: " + failed + "\n\n"}
	if k.Failed != nil {
		bodies = []string{k.Failed(failed), k.begun() + k.Piece + k.Failed(failed)}
	}
	for _, body := range bodies {
		var chunks []*model.Chunk
		_, err := Ask(t, k.model(t, Answering(200, k.streamType(), body)), k.hello(), &chunks)
		if err == nil || !strings.Contains(err.Error(), "no [hidden]") {
			t.Errorf("%q gives %v", body, err)
		}
	}
}

func (k *Target) redirects(t *testing.T) {
	asked := make(chan http.Header, 1)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.Header:
		default: // one is enough
		}
	}))
	defer other.Close()
	for _, code := range []int{302, 307, 308} {
		s := httptest.NewServer(http.RedirectHandler(other.URL, code))
		_, err := Ask(t, Model(t, k.New(t, s.URL, nil), k.Model), k.hello(), nil)
		s.Close()
		if status.Of(err) != status.FailedPrecondition {
			t.Errorf("%d: %v", code, err)
		}
	}
	select {
	case h := <-asked:
		t.Errorf("another server was asked, with the key %q", k.KeyOf(h))
	default:
	}
}

// endless repeats a text.
type endless struct {
	text string
	rest string
	read int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.rest == "" {
		e.rest = e.text
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	e.read += n
	return n, nil
}

func (k *Target) tooMuch(t *testing.T) {
	type torrent struct{ contentType, first, text string }
	torrents := map[string]torrent{
		"an endless stream":    {k.streamType(), k.begun(), k.Piece},
		"an endless event":     {k.streamType(), "data: ", strings.Repeat("x", 4096)},
		"an endless line":      {k.streamType(), "", ": comment "},
		"an endless error":     {k.streamType(), "event: error\ndata: ", "x"},
		"empty lines, endless": {k.streamType(), "", "\n\n\n\n"},
	}
	if k.Endless != nil {
		torrents = map[string]torrent{"an endless stream": torrents["an endless stream"]}
		for name, texts := range k.Endless {
			torrents[name] = torrent{k.streamType(), texts[0], texts[1]}
		}
	}
	torrents["an endless document"] = torrent{"application/json", `{"a":"`, "xxxxxxxxxxxxxxxx"}
	for name, c := range torrents {
		source := &endless{text: c.text, rest: c.first}
		var chunks []*model.Chunk
		_, err := Ask(t, k.model(t, &Canned{Status: 200, ContentType: c.contentType, Body: func() io.Reader { return source }}), k.hello(), &chunks)
		if status.Of(err) != status.ResourceExhausted {
			t.Errorf("%s: %v", name, err)
		}
		if source.read > 2*Limit {
			t.Errorf("%s: %d bytes were read", name, source.read)
		}
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 64 {
		_, _ = z.Write(bytes.Repeat([]byte("x"), 1<<20))
	}
	_ = z.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	}))
	defer s.Close()
	if _, err := Ask(t, Model(t, k.New(t, s.URL, nil), k.Model), k.hello(), nil); status.Of(err) != status.ResourceExhausted {
		t.Errorf("a compressed bomb: %v", err)
	}
}

// begun is the stream up to its first piece.
func (k *Target) begun() string {
	before, _, _ := strings.Cut(k.Stream, k.Piece)
	return before
}

func (k *Target) cancels(t *testing.T) {
	leave := errors.New("the reader left")
	for name, c := range map[string]struct {
		send func(cancel func()) error
		want error
	}{
		"the caller cancels": {func(cancel func()) error { cancel(); return nil }, context.Canceled},
		"the reader leaves":  {func(func()) error { return leave }, leave},
	} {
		gone := make(chan struct{})
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", k.streamType())
			_, _ = io.WriteString(w, k.begun()+k.Piece)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(gone)
		}))
		ctx, cancel := context.WithCancel(t.Context())
		req := &model.Request{}
		if err := json.Unmarshal([]byte(k.hello()), req); err != nil {
			t.Fatal(err)
		}
		_, err := Model(t, k.New(t, s.URL, nil), k.Model).Generate(ctx, req, func(*model.Chunk) error { return c.send(cancel) })
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		<-gone // the server has seen it
		cancel()
		s.Close()
	}
}

// Fuzz gives foreign bytes to a provider, as a document and as a stream in pieces of 1 to
// size bytes.
func Fuzz(f *testing.F, k Target, seeds ...string) {
	f.Add([]byte(k.Document), false, 1)
	f.Add([]byte(k.Stream), true, 7)
	for _, s := range seeds {
		f.Add([]byte(s), true, 1)
		f.Add([]byte(s), false, 3)
	}
	m := k.model(f, &Canned{})
	f.Fuzz(func(t *testing.T, body []byte, streaming bool, size int) {
		c := &Canned{Status: 200, ContentType: "application/json", Body: func() io.Reader { return &pieces{body, max(size, 1)} }}
		var chunks *[]*model.Chunk
		if streaming {
			c.ContentType, chunks = k.streamType(), &[]*model.Chunk{}
		}
		resp, err := ask(context.WithValue(t.Context(), cannedKey{}, c), t, m, k.hello(), chunks)
		if err != nil {
			var known *status.Error
			if !errors.As(err, &known) || strings.Contains(err.Error(), Key) {
				t.Fatal(err)
			}
			return
		}
		if resp.Message == nil || resp.FinishReason == "" {
			t.Fatalf("a response without a message or a finish reason: %+v", resp)
		}
		for _, part := range resp.ToolRequests() {
			if part.ToolRequest.Ref == "" || (part.ToolRequest.Input != nil && !json.Valid(part.ToolRequest.Input)) {
				t.Fatalf("a tool request: %+v", part.ToolRequest)
			}
		}
		out, err := json.Marshal(resp)
		if err == nil {
			err = json.Unmarshal(out, &model.Response{})
		}
		if err != nil || strings.ContainsAny(resp.FinishMessage, "\n\r\x00") {
			t.Fatal(err, resp.FinishMessage)
		}
	})
}

type pieces struct {
	rest []byte
	size int
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(to[:min(p.size, len(to))], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
