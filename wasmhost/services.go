package wasmhost

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/sandbox"
)

// maxInFlight bounds the HTTP requests of a tenant at a time.
const maxInFlight = 64

// services are what the host does for one module. They live as long as it is in
// service and are safe for concurrent use.
type services struct {
	host   *Host
	tenant *tenant
	module string
	grants policy.Grants
	limits policy.Limits
	http   *egress.Client // nil where no host is granted
	// removed is set when the module is deleted: calls that are still under way
	// keep nothing any more, so that the next module of its name starts empty.
	removed atomic.Bool
}

func (h *Host) services(t *tenant, name string, grants policy.Grants, limits policy.Limits) *services {
	s := &services{host: h, tenant: t, module: name, grants: grants, limits: limits}
	if len(grants.HTTP) > 0 {
		config := h.egress
		config.InFlight = t.inFlight
		s.http = egress.New(config)
	}
	return s
}

func (s *services) close() {
	if s != nil && s.http != nil {
		s.http.Close()
	}
}

func (s *services) namespace() kv.Namespace {
	return kv.Namespace{Tenant: s.tenant.name, Module: s.module}
}

// visit is one call's use of the services. Its counters may be used by more than one
// goroutine: redirects are counted by the client.
type visit struct {
	*services
	nest     *nest // nil until a guest has an action run
	calls    int64
	requests atomic.Int64
}

var _ sandbox.Door = (*visit)(nil)

// Do serves a capability. What was refused at upload is refused here once more.
func (v *visit) Do(ctx context.Context, c abi.Capability, request []byte) (json.RawMessage, error) {
	value, err := v.do(ctx, c, request)
	noted(ctx, c, err)
	return value, err
}

// noted puts the use of a capability on the tool's span. What was asked and answered
// stays out of it.
func noted(ctx context.Context, c abi.Capability, err error) {
	telemetry.Event(ctx, "guest.capability", slog.String("capability", string(c)), slog.String("status", status.Of(err).String()))
}

func (v *visit) do(ctx context.Context, c abi.Capability, request []byte) (json.RawMessage, error) {
	if err := v.admit(c); err != nil {
		return nil, err
	}
	switch c {
	case abi.CapNow:
		return marshal(time.Now().UTC().Format(time.RFC3339Nano))
	case abi.CapResumed:
		return resumed(ctx)
	case abi.CapHTTP:
		return v.fetchJSON(ctx, request)
	case abi.CapKVGet:
		return v.kvGet(ctx, request)
	case abi.CapKVSet:
		return nil, v.kvSet(ctx, request)
	case abi.CapKVDelete:
		return nil, v.kvDelete(ctx, request)
	case abi.CapKVList:
		return v.kvList(ctx, request)
	case abi.CapRun:
		return v.run(ctx, request)
	case abi.CapGenerate:
		return v.generate(ctx, request)
	}
	return nil, status.Publicf(status.Unimplemented, "this host does not provide the capability %q", c)
}

// resumed tells a tool what its caller answered to its interrupt: null in a first run.
func resumed(ctx context.Context) (json.RawMessage, error) {
	answer, again := tool.Resumed(ctx)
	if !again {
		return nil, nil
	}
	original, _ := tool.OriginalInput(ctx)
	return marshal(struct {
		Resumed       json.RawMessage `json:"resumed"`
		OriginalInput json.RawMessage `json:"originalInput,omitempty"`
	}{answer, original})
}

// admit counts a call of the host and checks its grant.
func (v *visit) admit(c abi.Capability) error {
	if v.calls++; v.calls > v.limits.HostCalls {
		return status.Publicf(status.ResourceExhausted, "the call has used its %d calls of the host", v.limits.HostCalls)
	}
	return v.grants.Check([]abi.Capability{c}, v.host.provided())
}

// decode reads a request. A field that is not known is refused: left out in silence, a
// condition or a bound would be lost.
func decode(c abi.Capability, request []byte, into any) error {
	if err := schema.Check(request); err != nil {
		return status.Publicf(status.InvalidArgument, "%s: request: %w", c, err)
	}
	dec := json.NewDecoder(bytes.NewReader(request))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return status.Publicf(status.InvalidArgument, "%s: request: %s", c, abi.Line(problem(err), 200))
	}
	return nil
}

func problem(err error) string {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("%q is of the type %s, which does not fit", t.Field, t.Value)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// marshal is json.Marshal without the escaping of <, > and &.
func marshal(value any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, status.Errorf(status.Internal, "encode a reply: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// exchange sends a request under the module's rules.
func (v *visit) exchange(ctx context.Context, r egress.Request) (*egress.Response, error) {
	if v.http == nil {
		return nil, status.Publicf(status.PermissionDenied, "capability %q is not granted", abi.CapHTTP)
	}
	return v.http.Do(ctx, r, egress.Rules{
		Grants: v.grants, MaxRequestBytes: v.limits.HTTPRequestBytes, MaxResponseBytes: v.limits.HTTPResponseBytes,
		Secret: func(ctx context.Context, name string) (secret.Value, error) {
			return v.host.secrets.Secret(ctx, v.tenant.name, name)
		},
		Spend: func() error {
			if v.requests.Add(1) > v.limits.HTTPRequests {
				return status.Publicf(status.ResourceExhausted, "http: the call has sent its %d requests", v.limits.HTTPRequests)
			}
			return nil
		},
	})
}

type httpRequest struct {
	Method     string            `json:"method"`
	URL        string            `json:"url"`
	Headers    map[string]string `json:"headers"`
	Body       *string           `json:"body"`
	BodyBase64 *string           `json:"bodyBase64"`
}

type httpResponse struct {
	Status     int               `json:"status"`
	Headers    map[string]string `json:"headers"`
	Body       *string           `json:"body,omitempty"`
	BodyBase64 *string           `json:"bodyBase64,omitempty"`
}

// fetchJSON is the capability http.
func (v *visit) fetchJSON(ctx context.Context, request []byte) (json.RawMessage, error) {
	var in httpRequest
	if err := decode(abi.CapHTTP, request, &in); err != nil {
		return nil, err
	}
	r := egress.Request{Method: in.Method, URL: in.URL, Headers: in.Headers}
	switch {
	case in.Body != nil && in.BodyBase64 != nil:
		return nil, status.Publicf(status.InvalidArgument, "http: give \"body\" or \"bodyBase64\", not both")
	case in.Body != nil:
		r.Body = []byte(*in.Body)
	case in.BodyBase64 != nil:
		var err error
		if r.Body, err = base64.StdEncoding.DecodeString(*in.BodyBase64); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "http: \"bodyBase64\" is not base64")
		}
	}
	resp, err := v.exchange(ctx, r)
	if err != nil {
		return nil, err
	}
	out := httpResponse{Status: resp.Status, Headers: resp.Headers}
	text := string(resp.Body)
	if utf8.Valid(resp.Body) {
		out.Body = &text
	} else {
		text = base64.StdEncoding.EncodeToString(resp.Body)
		out.BodyBase64 = &text
	}
	return marshal(out)
}

// Fetch is Extism's http_request, read as leniently as the SDK reads it.
func (v *visit) Fetch(ctx context.Context, request, body []byte) (_ *sandbox.Fetched, err error) {
	defer func() { noted(ctx, abi.CapHTTP, err) }()
	if err := v.admit(abi.CapHTTP); err != nil {
		return nil, err
	}
	var in struct {
		URL     string            `json:"url"`
		Method  string            `json:"method"`
		Headers map[string]string `json:"headers"`
	}
	if err := schema.Check(request); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "http: request: %w", err)
	}
	if err := json.Unmarshal(request, &in); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "http: request: %s", abi.Line(problem(err), 200))
	}
	resp, err := v.exchange(ctx, egress.Request{Method: in.Method, URL: in.URL, Headers: in.Headers, Body: body})
	if err != nil {
		return nil, err
	}
	headers, err := marshal(resp.Headers)
	return &sandbox.Fetched{Status: resp.Status, Headers: headers, Body: resp.Body}, err
}

func (v *visit) kvGet(ctx context.Context, request []byte) (json.RawMessage, error) {
	var in struct {
		Key string `json:"key"`
	}
	if err := decode(abi.CapKVGet, request, &in); err != nil {
		return nil, err
	}
	return v.host.kv.Get(ctx, v.namespace(), in.Key)
}

func (v *visit) kvSet(ctx context.Context, request []byte) error {
	var in struct {
		Key        string          `json:"key"`
		Value      json.RawMessage `json:"value"`
		TTLSeconds json.Number     `json:"ttlSeconds"`
		If         optional        `json:"if"`
	}
	if err := decode(abi.CapKVSet, request, &in); err != nil {
		return err
	}
	if in.Value == nil {
		return status.Publicf(status.InvalidArgument, "kv_set: request: \"value\" is missing")
	}
	if v.removed.Load() {
		return status.Publicf(status.FailedPrecondition, "kv_set: the module was removed")
	}
	o := kv.SetOptions{If: json.RawMessage(in.If)}
	if in.TTLSeconds != "" {
		seconds, err := in.TTLSeconds.Int64()
		if err != nil || seconds < 1 || seconds > int64(kv.MaxTTL/time.Second) {
			return status.Publicf(status.InvalidArgument, "kv_set: request: \"ttlSeconds\" is a whole number from 1 to %d", int64(kv.MaxTTL/time.Second))
		}
		o.TTL = time.Duration(seconds) * time.Second
	}
	return v.host.kv.Set(ctx, v.namespace(), in.Key, in.Value, o,
		kv.Quota{Keys: v.limits.KVKeys, Bytes: v.limits.KVBytes, ValueBytes: v.limits.KVValueBytes})
}

// optional tells a member that is null from one that is not there.
type optional json.RawMessage

func (o *optional) UnmarshalJSON(b []byte) error {
	*o = bytes.Clone(b)
	return nil
}

func (v *visit) kvDelete(ctx context.Context, request []byte) error {
	var in struct {
		Key string `json:"key"`
	}
	if err := decode(abi.CapKVDelete, request, &in); err != nil {
		return err
	}
	return v.host.kv.Delete(ctx, v.namespace(), in.Key)
}

func (v *visit) kvList(ctx context.Context, request []byte) (json.RawMessage, error) {
	var in struct {
		Prefix string `json:"prefix"`
		Cursor string `json:"cursor"`
		Limit  int    `json:"limit"`
	}
	if err := decode(abi.CapKVList, request, &in); err != nil {
		return nil, err
	}
	if in.Limit < 0 || in.Limit > kv.MaxList {
		return nil, status.Publicf(status.InvalidArgument, "kv_list: request: \"limit\" is a whole number from 1 to %d", kv.MaxList)
	}
	from, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "kv_list: request: \"cursor\" is none that this host gave")
	}
	page, err := v.host.kv.List(ctx, v.namespace(), in.Prefix, string(from), in.Limit)
	if err != nil {
		return nil, err
	}
	out := struct {
		Keys   []string `json:"keys"`
		Cursor string   `json:"cursor,omitempty"`
	}{page.Keys, base64.RawURLEncoding.EncodeToString([]byte(page.Next))}
	if out.Keys == nil {
		out.Keys = []string{}
	}
	return marshal(out)
}

// files returns what a policy shows of the operator's directories.
func (h *Host) files(grants policy.Grants) ([]sandbox.Mount, error) {
	mounts := make([]sandbox.Mount, 0, len(grants.Files))
	for _, f := range grants.Files {
		m, ok := h.mounts[f.Mount]
		if !ok {
			return nil, status.Publicf(status.FailedPrecondition, "the policy grants the mount %q, which this server does not have", f.Mount)
		}
		mounts = append(mounts, sandbox.Mount{Path: f.Path, FS: m.FS(f.Write)})
	}
	return mounts, nil
}

// provided lists what this host has beside what every host has.
func (h *Host) provided() []abi.Capability {
	if h.registry != nil {
		return policy.Grantable()
	}
	return slices.DeleteFunc(policy.Grantable(), func(c abi.Capability) bool { return c == abi.CapRun || c == abi.CapGenerate })
}

// configure checks and takes what a Config says of capabilities.
func (h *Host) configure(c Config) error {
	h.kv, h.secrets, h.egress, h.registry, h.mounts = c.KV, c.Secrets, c.Egress, c.Registry, maps.Clone(c.Mounts)
	if h.kv == nil {
		h.kv = kv.NewMemory(nil)
	}
	if h.secrets == nil {
		h.secrets = secret.Static(nil)
	}
	h.grants = c.Grants
	if h.grants == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(c.TenantGrants)) {
		if err := c.TenantGrants[name].Within(*h.grants); err != nil {
			return status.Publicf(status.InvalidArgument, "tenant %q: %s", name, status.Convert(err).Message)
		}
	}
	return nil
}
