package wasmhost

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// services serve the capabilities of one module. They live as long as it is in
// service and are safe for concurrent use.
type services struct {
	host   *Host
	tenant *tenant
	module string
	grants policy.Grants
	limits policy.Limits
	http   *egress.Client // nil where no host is granted
	// listed are the capabilities that a script has said it uses; nil for a module, whose imports say so.
	listed []abi.Capability
	// life is set when the module comes into service.
	life *lifetime
}

func (h *Host) services(t *tenant, name string, grants policy.Grants, limits policy.Limits) *services {
	s := &services{host: h, tenant: t, module: name, grants: grants, limits: limits}
	if len(grants.HTTP) > 0 {
		config := h.egress
		config.InFlight, config.Connections = t.inFlight, t.connections
		s.http = egress.New(config)
	}
	return s
}

func (s *services) close() {
	if s != nil && s.http != nil {
		s.http.Close()
	}
}

// hostCalls are one call's use of the services. Its counters may be used by more than one
// goroutine: redirects are counted by the client.
type hostCalls struct {
	*services
	tree     *callTree // nil until a guest has an action run
	calls    int64
	requests atomic.Int64
	sent     atomic.Int64 // bytes of bodies, and of those that came back
	// read is what is counted of the response that is being read, kept what is counted
	// of the latest reply, which the guest's side has in memory until the next one.
	read, kept int64
}

// freeBytes is the size of a request or reply of a guest that is not counted: there are
// no more of them at a time than the tenant's calls.
const freeBytes = 64 << 10

// copies is how often a reply is in memory while it is handed to the guest.
const copies = 2

// keep waits until there is room for a reply of so many bytes, in place of the one before.
func (v *hostCalls) keep(ctx context.Context, bytes int) error {
	v.forget()
	if bytes <= freeBytes {
		return nil
	}
	kept, err := v.tenant.replies.Wait(ctx, int64(bytes)*copies)
	v.kept = kept
	return err
}

// forget gives back what is counted of the latest reply.
func (v *hostCalls) forget() {
	v.tenant.replies.Give(v.kept)
	v.kept = 0
}

var _ sandbox.Door = (*hostCalls)(nil)

// Do serves a capability. One that was refused at upload is refused here once more.
func (v *hostCalls) Do(ctx context.Context, c abi.Capability, request []byte) (json.RawMessage, error) {
	value, err := v.counted(ctx, c, request)
	traced(ctx, c, err)
	return value, err
}

// ask counts a request of so many bytes; its result gives them back.
func (v *hostCalls) ask(bytes int) (done func(), err error) {
	n := int64(bytes)
	if n <= freeBytes {
		return func() {}, nil
	}
	return func() { v.tenant.requests.Give(n) }, v.tenant.requests.Take(n)
}

// counted counts the memory of what is asked and answered.
func (v *hostCalls) counted(ctx context.Context, c abi.Capability, request []byte) (json.RawMessage, error) {
	v.forget()
	asked, err := v.ask(len(request))
	if err != nil {
		return nil, err
	}
	defer asked()
	value, err := v.do(ctx, c, request)
	if err == nil && v.kept == 0 {
		err = v.keep(ctx, len(value))
	}
	if err != nil {
		v.forget()
		return nil, err
	}
	return value, nil
}

// traced puts the use of a capability on the tool's span. Requests and answers are not
// recorded.
func traced(ctx context.Context, c abi.Capability, err error) {
	telemetry.Event(ctx, "guest.capability", slog.String("capability", string(c)), slog.String("status", status.Of(err).String()))
}

func (v *hostCalls) do(ctx context.Context, c abi.Capability, request []byte) (json.RawMessage, error) {
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

// resumed gives a tool its caller's answer to its interrupt: null in a first run.
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
func (v *hostCalls) admit(c abi.Capability) error {
	if v.calls++; v.calls > v.limits.HostCalls {
		return status.Publicf(status.ResourceExhausted, "the call has used its %d calls of the host", v.limits.HostCalls)
	}
	if v.listed != nil && !slices.Contains(policy.Always(), c) && !slices.Contains(v.listed, c) {
		return status.Publicf(status.PermissionDenied, "the script uses the capability %q without saying so; add it to the requests of genkit.module()", c)
	}
	return v.grants.Check([]abi.Capability{c}, v.host.provided())
}

// decode reads a request. A field that is not known is refused: left out in silence, a
// condition or a bound would be lost.
func decode(c abi.Capability, request []byte, into any) error {
	if err := schema.Decode(request, into, schema.RefuseUnknown); err != nil {
		return status.Publicf(status.InvalidArgument, "%s: request: %w", c, err)
	}
	return nil
}

// marshal encodes a reply.
func marshal(value any) (json.RawMessage, error) {
	raw, err := rawjson.Encode(value)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode a reply: %w", err)
	}
	return raw, nil
}

// parse decodes JSON of a guest; INVALID_ARGUMENT when it does not fit v.
func parse(raw []byte, v any) error {
	if err := schema.CheckUnique(raw); err != nil {
		return status.Publicf(status.InvalidArgument, "not what was asked for: %w", err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return status.Publicf(status.InvalidArgument, "not of the form that was asked for").WithCause(err)
	}
	return nil
}
