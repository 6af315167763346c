package server_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// refusals ends the accounts and returns how often calls of the tenant "default" were refused, by reason, and how
// many events of calls there are.
func (c *captured) refusals(t *testing.T, book *usage.Book) (refused map[string]int64, calls int) {
	t.Helper()
	require.NoError(t, book.Close())
	refused = map[string]int64{}
	for name, events := range c.events {
		for _, e := range events {
			if e.Kind != usage.Refused {
				calls++
				continue
			}
			assert.Equal(t, "default", e.Tenant, name)
			refused[name] += e.Count
		}
	}
	return refused, calls
}

// Every call that is refused before it runs is counted once, with its reason, and none that ran is.
func TestRefusedCallsAreCountedByReason(t *testing.T) {
	var book *usage.Book
	w := newWorldOf(t, wasmhost.Config{}, func(c *server.Config) {
		book, c.MaxBodyBytes = c.Usage, 4<<10
		made := c.Registry
		c.Registry = func(name string) (*registry.Registry, error) {
			reg, err := made(name)
			return strict(t, reg), err
		}
	})
	require.Equal(t, http.StatusCreated, w.put("calc", calc(t)).status)
	const add = `{"input":{"a":1,"b":2}}`
	settings := func(patch string) {
		r := w.send("PATCH", tenant, patch, mergePatch, "If-Match: *")
		require.Equal(t, http.StatusOK, r.status, r.body)
	}
	code := func(want int, path, body string, headers ...string) {
		t.Helper()
		r := w.post(path, body, headers...)
		require.Equal(t, want, r.status, "%s: %s", path, r.body)
	}
	code(200, "/tools/calc/add", add)
	code(200, "/flows/menu/suggest", `{"data":{}}`)
	code(429, "/tools/native/busy", `{}`) // it ran, and said so itself
	code(404, "/flows/breaks", `{"data":{}}`)
	ran := 4

	code(404, "/tools/none/none", add)
	code(404, "/flows/none", `{}`)
	code(400, "/tools/calc/add", `{"input":{"a":"x"}}`)
	code(400, "/tools/calc/add", `{"input":`)
	code(400, "/flows/strict", `{"data":7}`)
	code(200, "/flows/strict", `{"data":7}`, sse) // a stream that has the refusal
	code(413, "/tools/calc/add", `{"input":"`+strings.Repeat("x", 8<<10)+`"}`)
	settings(`{"budget":{"models":["other/*"],"modelCallsPerMinute":1}}`)
	code(403, "/flows/asks", `{"data":"test/m"}`) // the flow ran, and what it asked for was refused
	code(200, "/flows/asks", `{"data":"other/m"}`)
	code(429, "/flows/asks", `{"data":"other/m"}`)
	ran += 3 + 1 // and the model's call
	settings(`{"quota":{"callsPerMinute":1}}`)
	calls := 0
	for ; w.post("/tools/calc/add", add).status == http.StatusOK; calls++ { // until it is refused, however slow this is
		require.Less(t, calls, 100)
	}
	ran += calls
	require.Equal(t, http.StatusOK, w.send("POST", tenant+"/suspend", "", "If-Match: *").status)
	for range 3 {
		code(403, "/tools/calc/add", add)
	}
	assert.Equal(t, http.StatusNotFound, w.do("POST", "/v1/tenants/nobody/tools/calc/add", strings.NewReader(add), jsonType).status, "nobody's refusals are not counted")
	assert.Equal(t, http.StatusForbidden, w.put("calc", calc(t)).status, "an upload is no call")

	refused, events := w.events.refusals(t, book)
	assert.Equal(t, map[string]int64{
		"notFound": 2, "invalid": 5, "denied": 1, "budget.modelCallsPerMinute": 1, "quota.callsPerMinute": 1, "suspended": 3,
	}, refused)
	assert.Equal(t, ran, events, "%v", slices.Sorted(maps.Keys(w.events.events)))
}

// strict adds to a registry, once, a flow with a schema, and one that calls a model of the name that it is given.
func strict(t *testing.T, reg *registry.Registry) *registry.Registry {
	t.Helper()
	if _, err := reg.Lookup(t.Context(), action.Key{Kind: action.Flow, Name: "strict"}); err == nil {
		return reg
	}
	for name, fn := range map[string]action.Func{
		"strict": func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) { return in, nil },
		"asks": func(ctx context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
			var model string
			if err := json.Unmarshal(in, &model); err != nil {
				return nil, err
			}
			settle, err := allowance.Reserve(ctx, model, model)
			if err != nil {
				return nil, err
			}
			settle(allowance.Use{Input: 1, Total: 1, Reported: true, Code: status.OK})
			return in, nil
		},
	} {
		a, err := action.New(action.Desc{Kind: action.Flow, Name: name, InputSchema: json.RawMessage(`{"type":"string"}`)}, fn)
		require.NoError(t, err)
		require.NoError(t, reg.Register(a))
	}
	return reg
}

// A flood of refused requests makes one event, and takes nothing of the accounts of the calls that run.
func TestAFloodOfRefusedRequestsIsOneEvent(t *testing.T) {
	k := newKept(t, registry.New(nil))
	sink := &captured{}
	book, err := usage.Open(usage.Config{Sinks: []usage.Target{{Name: "test", Sink: sink}}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, book.Close()) })
	k.serve(t, func(c *server.Config) { c.Usage = book })
	const flood = 1000
	for range flood {
		require.Equal(t, http.StatusNotFound, k.call(t.Context(), "none/none", `{}`))
	}
	k.token = "wrong"
	require.Equal(t, http.StatusUnauthorized, k.call(t.Context(), "none/none", `{}`), "who is not known is the audit log's")
	require.NoError(t, book.Close())
	require.Len(t, sink.events["notFound"], 1)
	assert.EqualValues(t, flood, sink.events["notFound"][0].Count)
	assert.Len(t, sink.events, 1)
}
