package wasmhost_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// refusalsOf is a sink that counts calls, and keeps why others were refused. It is used by one goroutine.
type refusalsOf struct {
	calls int
	why   []string
}

func (r *refusalsOf) Record(tenants.Event) { r.calls++ }

// Refuse implements [tenants.Refuser].
func (r *refusalsOf) Refuse(name, id string, why error) {
	r.why = append(r.why, name+" "+id+" "+status.Of(why).String()+" "+string(status.Convert(why).Details))
}

// A call that is refused before its guest runs is told to the sink as a refusal, and not as a call; one whose caller has
// left is neither.
func TestARefusedCallIsToldAsARefusal(t *testing.T) {
	sink := &refusalsOf{}
	acme := wasmhost.TenantConfig{ID: "1", Quota: tenants.Quota{CallsPerMinute: 1}}
	host, err := wasmhost.New(t.Context(), wasmhost.Config{Usage: sink, Tenants: map[string]wasmhost.TenantConfig{"acme": acme}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close(context.Background())) })
	_, err = host.Load(t.Context(), "acme", wasmhost.Upload{Name: "calc", Wasm: calc(t)})
	require.NoError(t, err)
	add := func(ctx context.Context) (noted bool) {
		a, err := host.Provider("acme").Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "calc/add"})
		require.NoError(t, err)
		ctx, note := tenants.WithNote(ctx)
		_, _ = a.RunJSON(ctx, json.RawMessage(`{"a":1,"b":2}`), nil)
		return note.Load()
	}
	for range 100 { // until it is refused, however slow this is
		assert.True(t, add(t.Context()), "of each is told something")
		if len(sink.why) > 0 {
			break
		}
	}
	ran := sink.calls
	assert.Equal(t, []string{`acme 1 RESOURCE_EXHAUSTED {"quota":"callsPerMinute"}`}, sink.why)
	acme.Suspended = true
	require.NoError(t, host.SetTenant(t.Context(), "acme", acme))
	assert.True(t, add(t.Context()))
	assert.Equal(t, `acme 1 PERMISSION_DENIED {"state":"suspended"}`, sink.why[1])
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.False(t, add(ctx))
	assert.Len(t, sink.why, 2)
	assert.Equal(t, ran, sink.calls)
}
