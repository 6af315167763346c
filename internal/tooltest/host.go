package tooltest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/intercept"
)

const (
	maxTimes  = 10_000
	mostFacts = 20 // answers that a case is told it lacks
)

// Fake is an answer of the host: what is asked, by one of the capabilities' names, and what comes back.
//
// A request is the one that is meant when it has all that is named, each member as it is named. In "url", "key" and
// "model" a * stands for any characters. A "body" that is no text is compared with the request's as JSON.
type Fake struct {
	HTTP     json.RawMessage `json:"http,omitempty"`
	KVGet    json.RawMessage `json:"kv_get,omitempty"`
	KVSet    json.RawMessage `json:"kv_set,omitempty"`
	KVDelete json.RawMessage `json:"kv_delete,omitempty"`
	KVList   json.RawMessage `json:"kv_list,omitempty"`
	Generate json.RawMessage `json:"generate,omitempty"`
	Run      json.RawMessage `json:"run,omitempty"`
	Now      json.RawMessage `json:"now,omitempty"`
	Resumed  json.RawMessage `json:"resumed,omitempty"`

	// Answer is the value that the capability gives; null when left out. That of http is {"status"?, "headers"?, "body"?},
	// by default 200 and nothing; a body that is no text is sent as JSON.
	Answer json.RawMessage `json:"answer,omitempty"`
	// Error is the failure in its place, {"code", "message"?}, or the code alone.
	Error json.RawMessage `json:"error,omitempty"`
	// Times is how often it is asked for; once when 0.
	Times    int  `json:"times,omitempty"`
	Optional bool `json:"optional,omitempty"` // it need not be asked for
}

// asks returns the capability, and what is asked of it.
func (f *Fake) asks() (abi.Capability, json.RawMessage) {
	for _, of := range []struct {
		c    abi.Capability
		asks json.RawMessage
	}{
		{abi.CapHTTP, f.HTTP},
		{abi.CapKVGet, f.KVGet},
		{abi.CapKVSet, f.KVSet},
		{abi.CapKVDelete, f.KVDelete},
		{abi.CapKVList, f.KVList},
		{abi.CapGenerate, f.Generate},
		{abi.CapRun, f.Run},
		{abi.CapNow, f.Now},
		{abi.CapResumed, f.Resumed},
	} {
		if of.asks != nil {
			return of.c, of.asks
		}
	}
	return "", nil
}

// Answers lists the capabilities that cases answer for.
func Answers(cases []Case) (all []abi.Capability) {
	for i := range cases {
		for j := range cases[i].Host {
			if c, _ := cases[i].Host[j].asks(); !slices.Contains(all, c) {
				all = append(all, c)
			}
		}
	}
	return all
}

func (f *Fake) check() error {
	set := 0
	for _, asks := range []json.RawMessage{f.HTTP, f.KVGet, f.KVSet, f.KVDelete, f.KVList, f.Generate, f.Run, f.Now, f.Resumed} {
		if asks != nil {
			set++
		}
	}
	if set != 1 {
		return errors.New("want one of http, kv_get, kv_set, kv_delete, kv_list, generate, run, now and resumed")
	}
	c, asks := f.asks()
	if asks[0] != '{' && string(asks) != "null" {
		return fmt.Errorf("%s: want an object, or nothing for any request", c)
	}
	if f.Answer != nil && f.Error != nil {
		return errors.New("want one of answer and error")
	}
	if f.Times < 0 || f.Times > maxTimes {
		return fmt.Errorf("times is %d, want 1 to %d", f.Times, maxTimes)
	}
	_, err := f.answer()
	var failed *answered
	if err != nil && !errors.As(err, &failed) {
		return err
	}
	return nil
}

// answered is a failure that a fake answers with.
type answered struct{ err *status.Error }

func (a *answered) Error() string { return a.err.Error() }
func (a *answered) Unwrap() error { return a.err }

// answer is what a guest gets. An error that is no [*answered] is a mistake in the case.
func (f *Fake) answer() (json.RawMessage, error) {
	if f.Error != nil {
		var e struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		}
		if json.Unmarshal(f.Error, &e.Code) != nil {
			if err := schema.Decode(f.Error, &e, schema.RefuseUnknown); err != nil {
				return nil, fmt.Errorf("error: want a status, or {\"code\", \"message\"}: %w", err)
			}
		}
		code, known := status.Parse(e.Code)
		if !known || code == status.OK {
			return nil, fmt.Errorf("error: the code is %q, want a status such as NOT_FOUND", e.Code)
		}
		if e.Message == "" {
			e.Message = "the case answers with " + e.Code
		}
		return nil, &answered{status.Publicf(code, "%s", e.Message)}
	}
	if c, _ := f.asks(); c != abi.CapHTTP {
		return f.Answer, nil
	}
	return httpAnswer(f.Answer)
}

// httpAnswer completes the answer of an http request.
func httpAnswer(raw json.RawMessage) (json.RawMessage, error) {
	var a struct {
		Status     int               `json:"status"`
		Headers    map[string]string `json:"headers"`
		Body       json.RawMessage   `json:"body"`
		BodyBase64 string            `json:"bodyBase64"`
	}
	if raw != nil && string(raw) != "null" {
		if err := schema.Decode(raw, &a, schema.RefuseUnknown); err != nil {
			return nil, fmt.Errorf("answer: %w", err)
		}
	}
	if a.Status == 0 {
		a.Status = 200
	}
	if a.Status < 100 || a.Status > 999 {
		return nil, fmt.Errorf("answer: the status is %d, want 100 to 999", a.Status)
	}
	if a.Headers == nil {
		a.Headers = map[string]string{}
	}
	out := map[string]any{"status": a.Status, "headers": a.Headers}
	var text string
	switch {
	case a.BodyBase64 != "":
		out["bodyBase64"] = a.BodyBase64
	case a.Body == nil:
		out["body"] = ""
	case json.Unmarshal(a.Body, &text) == nil:
		out["body"] = text
	default:
		out["body"] = string(a.Body)
	}
	return rawjson.Encode(out)
}

// host answers the guests of one case. It is safe for concurrent use.
type host struct {
	module string
	closed bool // there are answers in the case, and nothing else is reached

	mu      sync.Mutex // guards the fields below
	fakes   []Fake
	used    []int
	missing []string
}

func newHost(module string, fakes []Fake) *host {
	return &host{module: module, closed: len(fakes) > 0, fakes: fakes, used: make([]int, len(fakes))}
}

// on returns a context under which the host answers.
func (h *host) on(ctx context.Context) context.Context {
	return intercept.With(ctx, func(intercept.Call) intercept.Interceptor { return between{h} })
}

// faults are what the host lacked, and what nobody asked it for. Where the real host answers, what it has refused is told
// for a case that failed.
func (h *host) faults(passed bool) (missing, unasked []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.fakes {
		f := &h.fakes[i]
		if want := max(1, f.Times); h.used[i] < want && !f.Optional {
			c, asks := f.asks()
			unasked = append(unasked, fmt.Sprintf("%s %s, asked %d of %d times", c, asks, h.used[i], want))
		}
	}
	if h.closed || !passed {
		missing = h.missing
	}
	return missing, unasked
}

// answer returns the answer to a request, false when the real host is to be asked.
func (h *host) answer(c abi.Capability, request []byte) (json.RawMessage, error, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	named := false
	for i := range h.fakes {
		f := &h.fakes[i]
		of, asks := f.asks()
		if of != c {
			continue
		}
		named = true
		if h.used[i] >= max(1, f.Times) || !meant(asks, request) {
			continue
		}
		h.used[i]++
		value, err := f.answer()
		return value, err, true
	}
	if !h.closed || !h.answers(c, named, request) {
		return nil, nil, false
	}
	h.lack(c, request)
	return nil, status.Publicf(status.FailedPrecondition, "the case has no answer to this request"), true
}

// answers reports whether a request is the case's to answer: what would go out always is, but for the module's own
// actions; values, the time and what the caller has answered are when the case names any of them.
func (h *host) answers(c abi.Capability, named bool, request []byte) bool {
	switch c {
	case abi.CapHTTP, abi.CapGenerate:
		return true
	case abi.CapRun:
		var in struct {
			Key string `json:"key"`
		}
		_ = json.Unmarshal(request, &in) // what is no request is refused by the host
		parts := strings.Split(in.Key, "/")
		return named || len(parts) != 4 || parts[2] != h.module
	}
	return named
}

// lack notes an answer that the case lacks.
func (h *host) lack(c abi.Capability, request []byte) {
	var compact bytes.Buffer
	asks := string(request)
	if json.Compact(&compact, request) == nil {
		asks = compact.String()
	} else if len(request) == 0 {
		asks = "null"
	}
	answer := "null"
	if c == abi.CapHTTP {
		answer = `{"status": 200, "headers": {}, "body": ""}`
	}
	text := fmt.Sprintf("- %s: %s\n  answer: %s", c, asks, answer)
	if len(h.missing) < mostFacts && !slices.Contains(h.missing, text) {
		h.missing = append(h.missing, text)
	}
}

// meant reports whether a request is the one that a case names.
func meant(asks json.RawMessage, request []byte) bool {
	if string(asks) == "null" || string(asks) == "{}" {
		return true
	}
	var want, got map[string]json.RawMessage
	if json.Unmarshal(asks, &want) != nil || json.Unmarshal(request, &got) != nil {
		return false
	}
	for name, value := range want {
		if !meantMember(name, value, got[name]) {
			return false
		}
	}
	return true
}

func meantMember(name string, want, got json.RawMessage) bool {
	var pattern, text string
	isText := json.Unmarshal(got, &text) == nil && got != nil
	switch name {
	case "method":
		if got == nil {
			got = json.RawMessage(`"GET"`)
		}
	case "url", "key", "model":
		if json.Unmarshal(want, &pattern) == nil && isText {
			return glob(pattern, text)
		}
	case "body":
		if want[0] != '"' && isText {
			return rawjson.Equal(want, json.RawMessage(text))
		}
	case "headers":
		return meant(want, got)
	}
	return got != nil && rawjson.Equal(want, got)
}

// glob reports whether text is as pattern says, where * is any characters.
func glob(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return strings.HasSuffix(text, parts[last])
}

// between is a host that stands between a guest and the real one.
type between struct{ *host }

var _ intercept.Interceptor = between{}

// Ask implements [intercept.Interceptor].
func (b between) Ask(ctx context.Context, c abi.Capability, request []byte, real func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {
	value, err, ok := b.answer(c, request)
	if ok {
		return value, err
	}
	value, err = real(ctx)
	b.refused(c, request, err)
	return value, err
}

// refused notes what the real host has refused, for a case that fails for that reason.
func (b between) refused(c abi.Capability, request []byte, err error) {
	if code := status.Of(err); err != nil && (code == status.PermissionDenied || code == status.Unavailable) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.lack(c, request)
	}
}

// Fetch implements [intercept.Interceptor]: it is an http request in other words.
func (b between) Fetch(ctx context.Context, request, body []byte, real func(context.Context) (*intercept.Fetched, error)) (*intercept.Fetched, error) {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(request, &members) // what is no request is refused by the host
	if members == nil {
		members = map[string]json.RawMessage{}
	}
	if len(body) > 0 {
		members["body"], _ = rawjson.Encode(string(body)) // a string can be encoded
	}
	asked, _ := rawjson.Encode(members)
	value, err, ok := b.answer(abi.CapHTTP, asked)
	if !ok {
		f, err := real(ctx)
		b.refused(abi.CapHTTP, asked, err)
		return f, err
	}
	if err != nil {
		return nil, err
	}
	var a struct {
		Status     int             `json:"status"`
		Headers    json.RawMessage `json:"headers"`
		Body       string          `json:"body"`
		BodyBase64 string          `json:"bodyBase64"`
	}
	if err := json.Unmarshal(value, &a); err != nil {
		return nil, status.Errorf(status.Internal, "an answer of a case: %w", err)
	}
	f := &intercept.Fetched{Status: a.Status, Headers: a.Headers, Body: []byte(a.Body)}
	if a.BodyBase64 != "" {
		if f.Body, err = base64.StdEncoding.DecodeString(a.BodyBase64); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "the case's bodyBase64 is not base64")
		}
	}
	return f, nil
}

// Random implements [intercept.Sources].
func (between) Random(p []byte) error {
	_, err := rand.Read(p)
	return err
}

// Clock implements [intercept.Sources].
func (between) Clock(_ uint32, now int64) int64 { return now }

// Chunk implements [intercept.Interceptor].
func (between) Chunk(json.RawMessage) {}

// Line implements [intercept.Interceptor].
func (between) Line(slog.Level, string) {}

// End implements [intercept.Interceptor].
func (between) End(intercept.Outcome) {}
