package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// hop is one request of an exchange.
type hop struct {
	method  string
	url     string
	headers map[string]string // templates: secrets are put in for each hop anew
	body    []byte
}

// exchange sends a request and follows its redirects.
func (c *Client) exchange(ctx context.Context, r Request, rules Rules) (*Response, error) {
	next, err := first(r, rules)
	if err != nil {
		return nil, err
	}
	leave, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	defer func() {
		if c.closed.Load() {
			c.transport.CloseIdleConnections()
		}
	}()
	var from *policy.Target
	for redirects := 0; ; redirects++ {
		req, target, err := c.prepare(ctx, next, from, rules)
		if err != nil {
			return nil, err
		}
		resp, err := c.transport.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		location := resp.Header.Get("Location")
		if !follows(resp.StatusCode) || location == "" {
			return c.read(ctx, resp, next, rules)
		}
		_ = resp.Body.Close() // a redirect's body is nobody's concern
		if redirects == MaxRedirects {
			return nil, status.Publicf(status.ResourceExhausted, "http: more than %d redirects", MaxRedirects)
		}
		if next, err = redirected(next, req, resp.StatusCode, location); err != nil {
			return nil, err
		}
		from = &target
	}
}

func follows(code int) bool {
	switch code {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// hopHeaders belong to the connection or to the host, never to a guest.
var hopHeaders = []string{
	"Host", "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate", "Transfer-Encoding",
	"Content-Length", "Te", "Trailer", "Upgrade", "Expect", "Accept-Encoding", "Http2-Settings",
}

// first checks a guest's request before anything of it is used.
func first(r Request, rules Rules) (*hop, error) {
	h := &hop{method: strings.ToUpper(r.Method), url: r.URL, headers: map[string]string{}, body: r.Body}
	if h.method == "" {
		h.method = http.MethodGet
	}
	if !slices.Contains(policy.Methods(), h.method) {
		return nil, status.Publicf(status.InvalidArgument, "http: the method %q is none of %s", abi.Line(h.method, 20), strings.Join(policy.Methods(), ", "))
	}
	if int64(len(h.body)) > rules.MaxRequestBytes {
		return nil, status.Publicf(status.ResourceExhausted, "http: a body of %d bytes exceeds the limit of %d", len(h.body), rules.MaxRequestBytes)
	}
	if len(h.body) > 0 && (h.method == http.MethodGet || h.method == http.MethodHead) {
		return nil, status.Publicf(status.InvalidArgument, "http: a %s request has no body", h.method)
	}
	size := 0
	for name, value := range r.Headers {
		canonical := http.CanonicalHeaderKey(name)
		if size += len(name) + len(value); size > maxHeaderBytes || len(r.Headers) > maxRequestHeaders {
			return nil, status.Publicf(status.ResourceExhausted, "http: more than %d headers or %d bytes of them", maxRequestHeaders, maxHeaderBytes)
		}
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, status.Publicf(status.InvalidArgument, "http: the header %q can't be sent", abi.Line(name, 60))
		}
		if slices.Contains(hopHeaders, canonical) || strings.HasPrefix(canonical, "Proxy-") {
			return nil, status.Publicf(status.InvalidArgument, "http: the header %q is the host's to set", canonical)
		}
		if _, twice := h.headers[canonical]; twice {
			return nil, status.Publicf(status.InvalidArgument, "http: the header %q is given twice", canonical)
		}
		h.headers[canonical] = value
	}
	return h, nil
}

// prepare checks one hop against the policy and, when it may be sent, puts the
// secrets in.
func (c *Client) prepare(ctx context.Context, h *hop, from *policy.Target, rules Rules) (*http.Request, policy.Target, error) {
	u, target, err := ParseURL(h.url)
	if err != nil {
		return nil, target, err
	}
	if from != nil {
		if from.Scheme == "https" && target.Scheme == "http" {
			return nil, target, status.Publicf(status.PermissionDenied, "http: a redirect leads from https to http")
		}
		if !sameOrigin(*from, target) {
			h.headers = harmless(h.headers)
		}
	}
	if err := rules.Grants.AllowsHTTP(h.method, target); err != nil {
		return nil, target, err
	}
	headers, err := expand(ctx, h.headers, target, rules)
	if err != nil {
		return nil, target, err
	}
	if rules.Spend != nil {
		if err := rules.Spend(); err != nil {
			return nil, target, err
		}
	}
	var body io.Reader
	if len(h.body) > 0 {
		body = bytes.NewReader(h.body)
	}
	req, err := http.NewRequestWithContext(ctx, h.method, u.String(), body)
	if err != nil {
		return nil, target, status.Publicf(status.InvalidArgument, "http: the request can't be sent").WithCause(err)
	}
	req.Header = headers
	req.Header.Set("Accept-Encoding", "gzip")
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "genkit-wasm")
	}
	return req, target, nil
}

func sameOrigin(a, b policy.Target) bool {
	return a.Scheme == b.Scheme && a.Host == b.Host && a.Port == b.Port
}

// harmless keeps the headers that may go to another origin than the one they were
// written for: none that could be a credential.
func harmless(headers map[string]string) map[string]string {
	kept := map[string]string{}
	for _, name := range []string{"Accept", "Accept-Language", "Content-Type", "Content-Language", "User-Agent", "Cache-Control"} {
		if value, ok := headers[name]; ok && !strings.Contains(value, "{{secret:") {
			kept[name] = value
		}
	}
	return kept
}

// expand puts secrets into headers, for a target that each of them is bound to.
func expand(ctx context.Context, templates map[string]string, target policy.Target, rules Rules) (http.Header, error) {
	headers := http.Header{}
	used := false
	for name, template := range templates {
		value, err := secret.Expand(template, func(secretName string) (secret.Value, error) {
			used = true
			if !rules.Grants.AllowsSecret(secretName, target) || rules.Secret == nil {
				return secret.Value{}, status.Publicf(status.PermissionDenied, "http: the secret %q is not granted for %s://%s:%d", abi.Line(secretName, 64), target.Scheme, target.Host, target.Port)
			}
			v, err := rules.Secret(ctx, secretName)
			if err != nil { // NOT_FOUND: the scrubber has asked before
				return v, status.Publicf(status.FailedPrecondition, "http: the secret %q is not there", secretName).WithCause(err)
			}
			return v, nil
		})
		if err != nil {
			return nil, err
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, status.Publicf(status.FailedPrecondition, "http: the secret in the header %q can't be sent", name)
		}
		headers.Set(name, value)
	}
	if used && (headers.Get("Range") != "" || headers.Get("If-Range") != "") {
		// A server that echoes could be asked for a secret in pieces.
		return nil, status.Publicf(status.InvalidArgument, "http: a request with a secret asks for no range")
	}
	return headers, nil
}

// redirected makes the request that a redirect asks for, as browsers do.
func redirected(h *hop, req *http.Request, code int, location string) (*hop, error) {
	if len(location) > MaxURLBytes {
		return nil, status.Publicf(status.InvalidArgument, "http: a redirect leads to a URL longer than %d bytes", MaxURLBytes)
	}
	to, err := req.URL.Parse(location)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "http: a redirect leads to what is no URL")
	}
	to.Fragment, to.RawFragment = "", ""
	next := &hop{method: h.method, url: to.String(), headers: h.headers, body: h.body}
	post := code == http.StatusMovedPermanently || code == http.StatusFound
	if (code == http.StatusSeeOther && h.method != http.MethodHead) || (post && h.method == http.MethodPost) {
		next.method, next.body = http.MethodGet, nil
		next.headers = map[string]string{}
		for name, value := range h.headers {
			if !strings.HasPrefix(name, "Content-") {
				next.headers[name] = value
			}
		}
	}
	return next, nil
}

// read takes the whole answer, within its bounds.
func (c *Client) read(ctx context.Context, resp *http.Response, h *hop, rules Rules) (*Response, error) {
	defer resp.Body.Close()
	if resp.StatusCode < 200 {
		return nil, status.Publicf(status.Unavailable, "http: the server wants another protocol")
	}
	fields := 0
	out := &Response{Status: resp.StatusCode, Headers: map[string]string{}}
	for name, values := range resp.Header {
		if fields += len(values); fields > maxResponseFields {
			return nil, status.Publicf(status.ResourceExhausted, "http: the response has more than %d headers", maxResponseFields)
		}
		out.Headers[strings.ToLower(name)] = strings.ToValidUTF8(strings.Join(values, ", "), "\uFFFD")
	}
	encoding := strings.ToLower(strings.TrimSpace(out.Headers["content-encoding"]))
	if h.method == http.MethodHead {
		return out, nil
	}
	if encoding != "" && encoding != "gzip" && encoding != "identity" && len(rules.Grants.Secrets) > 0 {
		// A body that can't be read can't be scrubbed.
		return nil, status.Publicf(status.Unavailable, "http: the response has the encoding %q, which was not asked for", abi.Line(encoding, 40))
	}
	packed := encoding == "gzip"
	body, err := collect(ctx, resp, packed, rules)
	if err != nil {
		return nil, err
	}
	if packed {
		delete(out.Headers, "content-encoding")
		delete(out.Headers, "content-length")
		if body, err = unzip(ctx, body, rules); err != nil {
			return nil, unzipError(err)
		}
	}
	out.Body = body
	return out, nil
}

// collect reads a body as it comes. It asks for room once, for all that it may need: two
// who each had a part of theirs would wait for one another.
func collect(ctx context.Context, resp *http.Response, packed bool, rules Rules) ([]byte, error) {
	body := &capped{r: resp.Body, left: rules.MaxResponseBytes}
	start, err := io.ReadAll(io.LimitReader(body, freeBytes))
	if err != nil || rules.Room == nil || len(start) == 0 || (len(start) < freeBytes && !packed) {
		return rest(start, body, err)
	}
	need := rules.MaxResponseBytes
	if n := resp.ContentLength; n >= 0 {
		need = min(need, n)
	}
	if packed {
		need += rules.MaxResponseBytes
	}
	if err := rules.Room(ctx, need); err != nil {
		return nil, err
	}
	return rest(start, body, nil)
}

// rest reads on after start, unless err has ended the body.
func rest(start []byte, body io.Reader, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if len(start) < freeBytes {
		return start, nil
	}
	all := bytes.NewBuffer(start)
	_, err = all.ReadFrom(body)
	return all.Bytes(), err
}

// unzip decompresses a body, one piece after another.
func unzip(ctx context.Context, packed []byte, rules Rules) ([]byte, error) {
	if len(packed) == 0 { // no body at all
		return packed, nil
	}
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	body := &capped{r: zr, left: rules.MaxResponseBytes}
	var all bytes.Buffer
	for {
		err := rules.work(ctx, pieceBytes, func() error {
			_, err := io.CopyN(&all, body, pieceBytes)
			return err
		})
		switch {
		case errors.Is(err, io.EOF):
			return all.Bytes(), nil
		case err != nil:
			return nil, err
		}
	}
}

func unzipError(err error) error {
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return status.Publicf(status.Unavailable, "http: the response is not the gzip that it says it is").WithCause(err)
	}
	return err
}

// capped fails a read beyond its bytes, rather than end it.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.r.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, status.Publicf(status.ResourceExhausted, "http: the response is bigger than the limit")
	}
	return n, err
}

// Do sends a request and follows redirects. It fails with INVALID_ARGUMENT (the
// request can't be sent), PERMISSION_DENIED (the policy or an address forbids it),
// RESOURCE_EXHAUSTED (a bound was reached), UNAVAILABLE (no answer),
// DEADLINE_EXCEEDED or CANCELLED. It blocks no longer than ctx lasts. Errors are
// public and hold no secret.
func (c *Client) Do(ctx context.Context, r Request, rules Rules) (*Response, error) {
	rules.Secret = once(rules.Secret)
	scrub, err := c.scrubber(ctx, rules)
	if err != nil {
		return nil, cleaned(ctx, err, scrub)
	}
	resp, err := c.exchange(ctx, r, rules)
	if err != nil {
		return nil, cleaned(ctx, err, scrub)
	}
	resp.Body, err = scrub.Each(resp.Body, func(work func()) error {
		return rules.work(ctx, len(resp.Body), func() error { work(); return nil })
	})
	if err != nil {
		return nil, cleaned(ctx, err, scrub)
	}
	headers := make(map[string]string, len(resp.Headers))
	for name, value := range resp.Headers {
		headers[scrub.ScrubString(name)] = scrub.ScrubString(value)
	}
	resp.Headers = headers
	return resp, nil
}
