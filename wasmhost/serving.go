package wasmhost

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// serving lets the calls of a tenant begin, and ends the requests under way when the tenant
// is suspended or erased. All settings of a tenant share one, so that a request that began
// under earlier ones ends, too.
type serving struct {
	refuses atomic.Bool // read without mu

	mu      sync.Mutex // guards the fields below
	refusal error      // nil: calls may begin
	ends    context.Context
	end     context.CancelCauseFunc
}

// refuse ends the requests under way and lets none begin, with the error as their cause; nil
// lets them begin again.
func (s *serving) refuse(refusal error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = refusal
	s.refuses.Store(refusal != nil)
	if refusal != nil && s.end != nil {
		s.end(refusal)
		s.ends, s.end = nil, nil
	}
}

// check tells why no call may begin; nil when it may.
func (s *serving) check() error {
	if !s.refuses.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusal
}

// watch returns a context that ends when calls under way have to; an error when none may
// begin.
func (s *serving) watch() (context.Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusal != nil {
		return nil, s.refusal
	}
	if s.ends == nil {
		s.ends, s.end = context.WithCancelCause(context.Background()) //nolint:forbidigo // the tenant's, which no request owns
	}
	return s.ends, nil
}

func suspended() error {
	return status.Publicf(status.PermissionDenied, "the tenant is suspended").WithDetails(map[string]string{"state": "suspended"})
}

func noTenant(name string) *status.Error {
	return status.Publicf(status.NotFound, "tenant %q does not exist", abi.Line(name, 80)).WithDetails(map[string]string{"tenant": name})
}
