package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
)

// maxAnswer bounds an answer, and one event of a stream, in bytes.
const maxAnswer = 64 << 20

// request is one call of the server.
type request struct {
	method string
	path   string // below the tenant, or below /v1 where server is set
	server bool   // the request is about the server, and no tenant
	query  url.Values
	body   io.Reader
	length int64 // of body; 0 leaves it to the client
	kind   string
	accept string
	// ifMatch is the header If-Match; empty for none.
	ifMatch string
	// refusing says that the server is to check a module.
	refusing bool
}

func (a *app) url(r request) (string, error) {
	base, err := url.Parse(a.server)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return "", usagef("the server %q is not a URL such as %s", a.server, defaultServer)
	}
	u := base.JoinPath("v1", "tenants", url.PathEscape(a.tenant)).String() + r.path
	if r.server {
		u = base.JoinPath("v1").String() + r.path
	}
	if len(r.query) > 0 {
		u += "?" + r.query.Encode()
	}
	return u, nil
}

// send makes the call. The caller closes the body of what it returns; an answer
// that is no success comes as an error.
func (a *app) send(ctx context.Context, r request) (*http.Response, error) {
	target, err := a.url(r)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, r.body)
	if err != nil {
		return nil, usage(err)
	}
	if r.length > 0 {
		req.ContentLength = r.length
	}
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	req.Header.Set("User-Agent", "genkit-wasm/"+buildVersion())
	if r.ifMatch != "" {
		req.Header.Set("If-Match", r.ifMatch)
	}
	a.authorize(req.Header)
	if req.ContentLength > bigBody {
		// The server may refuse the request for its length: then nothing is sent, and its
		// answer is not lost with a connection that it closes.
		req.Header.Set("Expect", "100-continue")
	}
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, a.unreachable(ctx, err)
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, a.problem(resp, r.refusing)
	}
	return resp, nil
}

// bigBody is the length, in bytes, from which a body waits for the server to ask for it, or for a
// second, which servers and proxies need that do not know of that.
const bigBody = 256 << 10

func (a *app) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if cause, ok := errors.AsType[*url.Error](err); ok {
		err = cause.Err
	}
	if broken(err) {
		return &failure{
			exit: exitUnreachable, code: status.Unavailable.String(), text: fmt.Sprintf("%s closed the connection before it answered: %v", a.server, err), cause: err,
			hint: "look at the server's log; whether the command has taken effect is not known",
		}
	}
	if hint := distrust(err); hint != "" {
		return &failure{
			exit: exitUnreachable, code: status.Unavailable.String(), text: fmt.Sprintf("the server at %s can't be trusted: %v", a.server, err), cause: err, hint: hint,
		}
	}
	return &failure{
		exit: exitUnreachable, code: status.Unavailable.String(), text: fmt.Sprintf("no server answers at %s: %v", a.server, err), cause: err,
		hint: "start one with \"genkit-wasm serve\", or name it with --server or " + serverEnv,
	}
}

// broken tells that a connection was made, and ended before the answer.
func broken(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		// net/http keeps this one to itself: the end was seen before the first byte was sent.
		strings.Contains(err.Error(), "server closed idle connection")
}

// problem reads the failure that a server answered.
func (a *app) problem(resp *http.Response, refusing bool) error {
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var p server.Problem
	if err != nil || json.Unmarshal(raw, &p) != nil || p.StatusName == "" {
		if resp.StatusCode == http.StatusBadRequest && bytes.Contains(raw, []byte("HTTP request to an HTTPS server")) {
			return usagef("%s speaks HTTPS: name it with https://", a.server)
		}
		return &failure{
			exit: exitFailed, text: fmt.Sprintf("%s answered %s, and not as a genkit-wasm server does", a.server, resp.Status),
			hint: "look whether --server names the right place",
		}
	}
	code, _ := status.Parse(p.StatusName)
	scope := resp.StatusCode == http.StatusForbidden && strings.HasPrefix(p.Detail, scopeWanted)
	refusing = refusing && !scope // it is the key that is refused, not the module
	hint := a.hint(code, refusing, resp.Header.Get("Retry-After"), p.Details)
	switch {
	case resp.StatusCode == http.StatusUnauthorized && resp.Header.Get("WWW-Authenticate") != "":
		hint = a.keyHint()
	case scope:
		hint = scopeHint
	case resp.StatusCode == http.StatusForbidden && p.Detail == suspendedTenant:
		hint = "whoever runs the server can let it run again, with \"genkit-wasm tenant resume " + a.tenant + "\""
	case resp.StatusCode == http.StatusRequestEntityTooLarge:
		hint = ""
	case resp.StatusCode == http.StatusNotFound && strings.HasPrefix(p.Detail, server.NoPath):
		hint = "look whether --server names the right place"
	}
	return &failure{exit: exitOf(code, refusing), code: p.StatusName, text: p.Detail, details: p.Details, request: p.RequestID, hint: hint}
}

// scopeWanted begins the detail of a 403 that is about a key's scopes, and scopeHint is advice on it.
const (
	scopeWanted = "this takes the scope"
	scopeHint   = "\"genkit-wasm key create\" makes a key that may; it needs one with the scope admin"
)

// suspendedTenant is the detail of a 403 that is about a suspended tenant.
const suspendedTenant = "the tenant is suspended"

// keyHint is advice on a key that is missing or not good.
func (a *app) keyHint() string {
	if a.key == "" {
		return "give the server's key in " + keyEnv + ", or keep it with \"genkit-wasm login --server " + a.server + "\""
	}
	return "the key came from " + keyEnv + " or a profile; \"genkit-wasm login\" keeps another one"
}

// messageOf is the text of an error that a status may wrap.
func messageOf(err error) string { return status.Convert(err).Message }

// hint is advice on a failure, of which details say more.
func (a *app) hint(code status.Code, refusing bool, retryAfter string, details json.RawMessage) string {
	var unknown struct {
		Tenant string `json:"tenant"`
	}
	switch {
	case code == status.NotFound && json.Unmarshal(details, &unknown) == nil && unknown.Tenant == a.tenant:
		return "--tenant names the tenant; \"genkit-wasm tenant create " + a.tenant + "\" makes it"
	case code == status.NotFound:
		return fmt.Sprintf("\"genkit-wasm ls --tenant %s\" lists the modules, with --actions everything that can be run", a.tenant)
	case code == status.PermissionDenied && refusing:
		return "grant it in a policy file and upload again with --policy FILE"
	case refusing && exitOf(code, true) == exitRefused:
		return "\"genkit-wasm inspect FILE\" shows what the module holds"
	case retryAfter != "":
		return "try again in " + retryAfter + " s"
	case code == status.Unavailable || code == status.ResourceExhausted:
		return "try again later"
	}
	return ""
}

// call sends a request and returns the JSON that comes back.
func (a *app) call(ctx context.Context, r request) (json.RawMessage, error) {
	resp, err := a.send(ctx, r)
	if err != nil {
		return nil, err
	}
	return readAnswer(resp)
}

// readAnswer reads the JSON of an answer, and closes it.
func readAnswer(resp *http.Response) (json.RawMessage, error) {
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(raw) > maxAnswer {
		err = fmt.Errorf("it is longer than %d bytes", maxAnswer)
	}
	if err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	return bytes.TrimSpace(raw), nil
}

// frame is one event of a stream.
type frame struct {
	Message   json.RawMessage `json:"message,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Interrupt json.RawMessage `json:"interrupt,omitempty"`
	Error     *status.Wire    `json:"error,omitempty"`
}

// stream sends a request and passes the frames on until the last; a frame that
// carries a failure comes as an error.
func (a *app) stream(ctx context.Context, r request, each func(frame, json.RawMessage) error) error {
	r.accept = "text/event-stream"
	r.query = url.Values{"heartbeat": {"15"}} // so that nothing on the way closes a stream that is silent
	resp, err := a.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), maxAnswer)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var f frame
		if err := json.Unmarshal([]byte(data), &f); err != nil {
			return fmt.Errorf("the server's stream holds what is not JSON: %w", err)
		}
		if f.Error != nil {
			code, _ := status.Parse(f.Error.Status)
			return &failure{
				exit: exitOf(code, false), code: f.Error.Status, text: f.Error.Message, details: f.Error.Details,
				hint: a.hint(code, false, "", f.Error.Details), request: resp.Header.Get("X-Request-Id"),
			}
		}
		if err := each(f, json.RawMessage(data)); err != nil {
			return err
		}
		if f.Message == nil {
			return nil
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &failure{exit: exitFailed, text: "the server's stream ended before its result", cause: lines.Err(), hint: "look whether the server is still running"}
}
