package services_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/services"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// config is that of a module of a tenant whose bodies may take so many bytes of each kind.
func config(bytes int64, grants policy.Grants) services.Config {
	share := func() *tenant.Share { return tenant.NewBytes(bytes).Join(bytes) }
	return services.Config{
		Tenant: "acme", Module: "m", Grants: grants, Limits: policy.Defaults(), Provided: policy.Grantable(), KV: kv.NewMemory(nil),
		Egress:     egress.Config{Reachable: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		EgressLeft: func() error { return nil }, SpendEgress: func(int64) {},
		Requests: share(), Answers: share(), Replies: share(),
	}
}

// serve returns the services of a module in service.
func serve(t *testing.T, c services.Config) *services.Services {
	t.Helper()
	s := services.New(c)
	s.Serve(&services.Lifetime{})
	t.Cleanup(s.Close)
	return s
}

// A response of 4 MiB whose every byte is escaped is 24 MiB as a reply, and a guest that
// waits with it in hand has it in memory: of those the tenant may have only so many.
func TestRepliesAreCountedUntilTheyAreDoneWith(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte{1}, 4<<20))
	}))
	defer srv.Close()
	var port int
	_, err := fmt.Sscanf(srv.URL, "http://127.0.0.1:%d", &port)
	require.NoError(t, err)
	p, err := policy.Parse(fmt.Appendf(nil, `{"grants":{"http":[{"host":"127.0.0.1","schemes":["http"],"ports":[%d]}]}}`, port))
	require.NoError(t, err)
	c := config(64<<20, p.Grants)
	s := serve(t, c)
	request := fmt.Appendf(nil, `{"url":%q}`, srv.URL)

	first, second := s.Call(t.Context()), s.Call(t.Context())
	reply, err := first.Do(t.Context(), abi.CapHTTP, request)
	require.NoError(t, err)
	assert.Greater(t, len(reply), 24<<20)
	assert.GreaterOrEqual(t, c.Replies.Used(), int64(2*24<<20), "the reply is counted")
	assert.Zero(t, c.Answers.Used(), "the response is not any more")

	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = second.Do(short, abi.CapHTTP, request)
	require.ErrorIs(t, err, context.DeadlineExceeded, "there is no room for another one")
	assert.Zero(t, c.Answers.Used())

	done := make(chan error, 1)
	go func() {
		_, err := second.Do(t.Context(), abi.CapHTTP, request)
		done <- err
	}()
	first.Done()
	require.NoError(t, <-done)
	_, err = second.Do(t.Context(), abi.CapHTTP, request)
	require.NoError(t, err, "a reply takes the place of the one before")
	second.Done()
	assert.Zero(t, c.Replies.Used())
	assert.Zero(t, c.Answers.Used())
	assert.Equal(t, int64(1), first.Asked())
	assert.Equal(t, int64(1), first.HTTPRequests())
	assert.GreaterOrEqual(t, first.HTTPBytes(), int64(4<<20))
}

// What guests ask is in the server's memory for as long as it is under way.
func TestRequestsOfGuestsAreCounted(t *testing.T) {
	c := config(1<<20, policy.Grants{KV: true})
	call := serve(t, c).Call(t.Context())
	_, err := call.Do(t.Context(), abi.CapKVGet, make([]byte, 2<<20))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	_, err = call.Fetch(t.Context(), []byte("{}"), make([]byte, 2<<20))
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	c.Grants.HTTP = []policy.HTTPGrant{{Host: "example.com"}}
	_, err = serve(t, c).Call(t.Context()).Fetch(t.Context(), []byte("{}"), make([]byte, 2<<20))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Zero(t, c.Requests.Used())
}

// The values of a module end with it, for calls of all its revisions.
func TestValuesEndWithTheirModule(t *testing.T) {
	s := services.New(config(1<<20, policy.Grants{KV: true}))
	life := &services.Lifetime{}
	s.Serve(life)
	defer s.Close()
	call := s.Call(t.Context())
	_, err := call.Do(t.Context(), abi.CapKVSet, []byte(`{"key":"a","value":1}`))
	require.NoError(t, err)
	value, err := call.Do(t.Context(), abi.CapKVGet, []byte(`{"key":"a"}`))
	require.NoError(t, err)
	assert.JSONEq(t, `1`, string(value))
	life.End()
	for c, request := range map[abi.Capability]string{abi.CapKVGet: `{"key":"a"}`, abi.CapKVSet: `{"key":"a","value":2}`, abi.CapKVDelete: `{"key":"a"}`, abi.CapKVList: `{}`} {
		_, err := call.Do(t.Context(), c, []byte(request))
		require.ErrorIs(t, err, status.ErrFailedPrecondition, c)
	}
}

// A capability that the policy does not grant, or that a script has not listed, is refused
// with each call, and every request counts.
func TestOnlyWhatIsGrantedIsServed(t *testing.T) {
	ctx := t.Context()
	c := config(1<<20, policy.Grants{Clock: true})
	c.Limits.HostCalls = 3
	s := serve(t, c)
	call := s.Call(ctx)
	now, err := call.Do(ctx, abi.CapNow, nil)
	require.NoError(t, err)
	var at time.Time
	require.NoError(t, json.Unmarshal(now, &at))
	_, err = call.Do(ctx, abi.CapKVGet, []byte(`{"key":"a"}`))
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	s.List([]abi.Capability{abi.CapKVGet})
	_, err = call.Do(ctx, abi.CapNow, nil)
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	assert.Contains(t, err.Error(), "without saying so")
	_, err = call.Do(ctx, abi.CapNow, nil)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	_, err = s.Call(ctx).Do(ctx, abi.CapResumed, nil)
	require.NoError(t, err, "another call has its own count")
}

// A host without a registry runs no actions, and says so.
func TestWithoutARegistryNothingRuns(t *testing.T) {
	ctx := t.Context()
	c := config(1<<20, policy.Grants{Actions: []string{"tool/*"}})
	_, err := serve(t, c).Call(ctx).Do(ctx, abi.CapRun, []byte(`{"key":"/tool/a"}`))
	require.ErrorIs(t, err, status.ErrUnimplemented)
	asked := ""
	c.Registry = func(tenant string) (*registry.Registry, error) {
		asked = tenant
		return registry.New(nil), nil
	}
	_, err = serve(t, c).Call(ctx).Do(ctx, abi.CapRun, []byte(`{"key":"/tool/a"}`))
	require.ErrorIs(t, err, status.ErrNotFound)
	assert.Equal(t, "acme", asked)
	_, err = serve(t, c).Call(ctx).Do(ctx, abi.CapRun, []byte(`{"key":"/model/a"}`))
	require.ErrorIs(t, err, status.ErrPermissionDenied)
}
