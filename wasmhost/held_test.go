package wasmhost

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/experimental/sys"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/descriptors"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// A response of 4 MiB whose every byte is escaped is 24 MiB as a reply, and a guest that
// waits with it in hand has it in memory: of those the tenant may have only so many.
func TestRepliesAreCountedUntilTheyAreDoneWith(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte{1}, 4<<20))
	}))
	defer srv.Close()
	h, err := New(t.Context(), Config{
		Egress: egress.Config{Reachable: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, Quota: tenants.Quota{RequestBytes: 64 << 20},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close(context.WithoutCancel(t.Context()))) }()
	var port int
	_, err = fmt.Sscanf(srv.URL, "http://127.0.0.1:%d", &port)
	require.NoError(t, err)
	p, err := policy.Parse(fmt.Appendf(nil, `{"grants":{"http":[{"host":"127.0.0.1","schemes":["http"],"ports":[%d]}]}}`, port))
	require.NoError(t, err)
	owner := h.tenants[DefaultTenant]
	s := h.services(owner, "m", p.Grants, h.limits)
	defer s.close()
	request := fmt.Appendf(nil, `{"url":%q}`, srv.URL)

	first, second := &hostCalls{services: s}, &hostCalls{services: s}
	reply, err := first.Do(t.Context(), abi.CapHTTP, request)
	require.NoError(t, err)
	assert.Greater(t, len(reply), 24<<20)
	assert.GreaterOrEqual(t, owner.replies.Used(), int64(2*24<<20), "the reply is counted")
	assert.Zero(t, owner.answers.Used(), "the response is not any more")

	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = second.Do(short, abi.CapHTTP, request)
	require.ErrorIs(t, err, context.DeadlineExceeded, "there is no room for another one")
	assert.Zero(t, owner.answers.Used())

	done := make(chan error, 1)
	go func() {
		_, err := second.Do(t.Context(), abi.CapHTTP, request)
		done <- err
	}()
	first.forget() // its call has ended
	require.NoError(t, <-done)
	_, err = second.Do(t.Context(), abi.CapHTTP, request)
	require.NoError(t, err, "a reply takes the place of the one before")
	second.forget()
	assert.Zero(t, owner.replies.Used())
	assert.Zero(t, owner.answers.Used())
}

// What guests ask is in the server's memory for as long as it is under way.
func TestRequestsOfGuestsAreCounted(t *testing.T) {
	h, err := New(t.Context(), Config{Quota: tenants.Quota{RequestBytes: 1 << 20}})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close(context.WithoutCancel(t.Context()))) }()
	owner := h.tenants[DefaultTenant]
	v := &hostCalls{services: h.services(owner, "m", policy.Grants{KV: true}, h.limits)}
	_, err = v.Do(t.Context(), abi.CapKVGet, make([]byte, 2<<20))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	_, err = v.Fetch(t.Context(), []byte("{}"), make([]byte, 2<<20))
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	v.grants.HTTP = []policy.HTTPGrant{{Host: "example.com"}}
	_, err = v.Fetch(t.Context(), []byte("{}"), make([]byte, 2<<20))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Zero(t, owner.requests.Used())
}

// A tenant's modules have a part of the server's descriptors together, however many they are.
func TestTheModulesOfATenantHaveSoManyFilesOpen(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), nil, 0o600))
	m, err := vfs.Open(dir, vfs.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()) }()
	h, err := New(t.Context(), Config{Mounts: map[string]*vfs.Mount{"m": m}, Tenants: map[string]TenantConfig{"other": {}}})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close(context.WithoutCancel(t.Context()))) }()
	var opened []sys.File
	defer func() {
		for _, f := range opened {
			f.Close()
		}
	}()
	open := func(tenant string) (n int64) {
		for range 100 { // as many modules, each of which may have more open than a module may
			mounts, err := h.files(h.tenants[tenant], policy.Grants{Files: []policy.FileGrant{{Mount: "m", Path: "/a"}, {Mount: "m", Path: "/b"}}})
			require.NoError(t, err)
			for _, mount := range mounts {
				for {
					f, errno := mount.FS.OpenFile("a", sys.O_RDONLY, 0)
					if errno != 0 {
						break
					}
					opened, n = append(opened, f), n+1
				}
			}
		}
		return n
	}
	assert.LessOrEqual(t, h.opens.Limit(), descriptors.Limit()/4)
	assert.Equal(t, h.opens.Limit()/4, open(DefaultTenant))
	assert.Positive(t, open("other"), "another tenant still opens some")
}
