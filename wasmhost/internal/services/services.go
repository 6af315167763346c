// Package services answers what a guest's call may ask of the host: the capabilities that the
// policy of its module grants.
//
// It owns how a request is read, admitted, counted and answered. The stores, networks and
// registries behind it are given by the host. Use:
//
//	s := services.New(services.Config{Tenant: "acme", Module: "search", Grants: grants, Limits: limits, KV: values, …})
//	s.Serve(life)
//	call := s.Call(ctx)
//	defer call.Done()
//	result, err := module.Call(ctx, sandbox.Call{Door: call, …})
package services

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// Config says which module asks, what it may, and who answers.
type Config struct {
	Tenant, Module string
	Grants         policy.Grants
	Limits         policy.Limits
	// Provided lists the capabilities that this host has and not every host has.
	Provided []abi.Capability
	// Egress is how guests reach the network, within the bounds of their tenant.
	Egress egress.Config
	// KV keeps the values of modules.
	KV kv.Store
	// Secrets finds the values that requests refer to.
	Secrets secret.Source
	// Registry finds the actions that a tenant's guests may run; nil where there are none.
	Registry func(tenant string) (*registry.Registry, error)
	// BeginGenerate counts a generate call of the tenant until the function is called.
	BeginGenerate func() (done func(), err error)
	// EgressLeft fails where the tenant's guests may send nothing now, and SpendEgress counts
	// the bytes of bodies that go out or have come in.
	EgressLeft  func() error
	SpendEgress func(bytes int64)
	// Requests counts the bytes of what the tenant's guests ask, Answers those of HTTP
	// responses that are read for them, Replies those that the host has answered and they
	// have not done with.
	Requests, Answers, Replies *tenant.Share
}

// Services serve the capabilities of one module. They live as long as it is in
// service and are safe for concurrent use.
type Services struct {
	config Config
	http   *egress.Client // nil where no host is granted
	// listed are the capabilities that a script has said it uses; nil for a module, whose imports say so.
	listed []abi.Capability
	life   *Lifetime
}

// New returns the services of a module. [Services.Serve] comes before its first call.
func New(c Config) *Services {
	s := &Services{config: c}
	if len(c.Grants.HTTP) > 0 {
		s.http = egress.New(c.Egress)
	}
	return s
}

// List restricts a script to the capabilities that it has said it uses. It comes before the
// first call.
func (s *Services) List(listed []abi.Capability) { s.listed = listed }

// Serve gives the module, which comes into service, the lifetime of its values.
func (s *Services) Serve(life *Lifetime) { s.life = life }

// Sends reports whether the module may send requests.
func (s *Services) Sends() bool { return s.http != nil }

// Grants are those of the module's policy.
func (s *Services) Grants() policy.Grants { return s.config.Grants }

// Close closes connections. It does nothing on nil.
func (s *Services) Close() {
	if s != nil && s.http != nil {
		s.http.Close()
	}
}

// Call returns the services for one call, which ends with [Call.Done].
func (s *Services) Call(ctx context.Context) *Call { return &Call{Services: s, tree: callTreeOf(ctx)} }

// Call is one call's use of the services, by one goroutine at a time. Redirects are counted by
// the client, on goroutines of its own.
type Call struct {
	*Services
	tree     *callTree // nil until a guest has an action run
	calls    int64
	requests atomic.Int64
	sent     atomic.Int64 // bytes of bodies, and of those that came back
	// read is what is counted of the response that is being read, kept what is counted
	// of the latest reply, which the guest's side has in memory until the next one.
	read, kept int64
}

// Done ends the call.
func (v *Call) Done() { v.forget() }

// Asked returns how often the guest has asked for something.
func (v *Call) Asked() int64 { return v.calls }

// HTTPRequests returns how many requests were sent for the guest, redirects included.
func (v *Call) HTTPRequests() int64 { return v.requests.Load() }

// HTTPBytes returns the bytes of their bodies, and of those that came back.
func (v *Call) HTTPBytes() int64 { return v.sent.Load() }

// freeBytes is the size of a request or reply of a guest that is not counted: there are
// no more of them at a time than the tenant's calls.
const freeBytes = 64 << 10

// copies is how often a reply is in memory while it is handed to the guest.
const copies = 2

// keep waits until there is room for a reply of so many bytes, in place of the one before.
func (v *Call) keep(ctx context.Context, bytes int) error {
	v.forget()
	if bytes <= freeBytes {
		return nil
	}
	kept, err := v.config.Replies.Wait(ctx, int64(bytes)*copies)
	v.kept = kept
	return err
}

// forget gives back what is counted of the latest reply.
func (v *Call) forget() {
	v.config.Replies.Give(v.kept)
	v.kept = 0
}

var _ sandbox.Door = (*Call)(nil)

// ask counts a request of so many bytes; its result gives them back.
func (v *Call) ask(bytes int) (done func(), err error) {
	n := int64(bytes)
	if n <= freeBytes {
		return func() {}, nil
	}
	return func() { v.config.Requests.Give(n) }, v.config.Requests.Take(n)
}

// traced puts the use of a capability on the tool's span. Requests and answers are not
// recorded.
func traced(ctx context.Context, c abi.Capability, err error) {
	telemetry.Event(ctx, "guest.capability", slog.String("capability", string(c)), slog.String("status", status.Of(err).String()))
}

// admit counts a call of the host and checks its grant.
func (v *Call) admit(c abi.Capability) error {
	if v.calls++; v.calls > v.config.Limits.HostCalls {
		return status.Publicf(status.ResourceExhausted, "the call has used its %d calls of the host", v.config.Limits.HostCalls)
	}
	if v.listed != nil && !slices.Contains(policy.Always(), c) && !slices.Contains(v.listed, c) {
		return status.Publicf(status.PermissionDenied, "the script uses the capability %q without saying so; add it to the requests of genkit.module()", c)
	}
	return v.config.Grants.Check([]abi.Capability{c}, v.config.Provided)
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
