package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// captured is a sink that keeps events by the name of what was called.
type captured struct {
	mu     sync.Mutex
	events map[string][]usage.Event
}

func (c *captured) Send(_ context.Context, events []json.RawMessage) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, raw := range events {
		e, err := usage.Decode(raw)
		if err != nil {
			return err
		}
		if c.events == nil {
			c.events = map[string][]usage.Event{}
		}
		c.events[e.Name] = append(c.events[e.Name], e)
	}
	return nil
}

// of waits for the first event of a name.
func (c *captured) of(t *testing.T, name string) usage.Event {
	t.Helper()
	var e usage.Event
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.events[name]) == 0 {
			return false
		}
		e = c.events[name][0]
		return true
	}, 20*time.Second, time.Millisecond, name)
	return e
}

func TestEachCallIsAnEventThatSaysWhoCalled(t *testing.T) {
	g := newGuarded(t, nil)
	manage := g.key("default:manage")
	require.Equal(t, http.StatusCreated, g.put("calc", calc(t), bearer(manage)).status)
	key, token := g.keyOf("default:invoke")
	id, err := g.host.TenantID("default")
	require.NoError(t, err)
	for name, test := range map[string]struct {
		path, body, status string
		kind               usage.Kind
	}{
		"calc/add":     {"/tools/calc/add", `{"input":{"a":1,"b":2}}`, "OK", usage.Tool},
		"native/busy":  {"/tools/native/busy", `{}`, "RESOURCE_EXHAUSTED", usage.Tool},
		"menu/suggest": {"/flows/menu/suggest", `{"data":{}}`, "OK", usage.Flow},
		"breaks":       {"/flows/breaks", `{"data":{}}`, "NOT_FOUND", usage.Flow},
	} {
		g.post(test.path, test.body, bearer(token))
		e := g.events.of(t, name)
		assert.Equal(t, test.kind, e.Kind, name)
		assert.Equal(t, test.status, e.Code.String(), name)
		assert.Equal(t, "key:"+key.ID, e.Caller, name)
		assert.Equal(t, "default", e.Tenant, name)
		assert.Equal(t, id, e.TenantID, name)
		assert.Positive(t, e.WallNS, name)
		if name == "calc/add" {
			assert.Equal(t, "calc", e.Module)
			assert.Positive(t, e.Fuel)
			assert.Positive(t, e.PeakMemoryBytes)
			assert.Contains(t, e.Digest, "sha256:")
		}
	}
}

// A tenant reads what it has used itself; the one that had its name before is another.
func TestATenantReadsNothingOfAnEarlierOneOfItsName(t *testing.T) {
	w := newWorld(t, nil)
	require.Equal(t, http.StatusCreated, w.do(http.MethodPost, "/v1/tenants", strings.NewReader(`{"name":"short"}`), jsonType).status)
	require.Equal(t, http.StatusOK, w.do(http.MethodPost, "/v1/tenants/short/flows/menu/suggest", strings.NewReader(`{"data":{}}`), jsonType).status)
	calls := func(path string) int64 {
		r := w.do(http.MethodGet, path, nil)
		require.Equal(t, http.StatusOK, r.status, r.body)
		var report usage.Report
		require.NoError(t, json.Unmarshal([]byte(r.body), &report))
		return report.Total.Calls
	}
	assert.EqualValues(t, 1, calls("/v1/tenants/short/usage/report"))
	require.Equal(t, http.StatusAccepted, w.do(http.MethodDelete, "/v1/tenants/short", nil).status)
	require.Eventually(t, func() bool {
		return w.do(http.MethodPost, "/v1/tenants", strings.NewReader(`{"name":"short"}`), jsonType).status == http.StatusCreated
	}, 20*time.Second, 10*time.Millisecond)
	assert.Zero(t, calls("/v1/tenants/short/usage/report"))
	assert.EqualValues(t, 1, calls("/v1/usage?tenant=short"))
	assert.EqualValues(t, 0, calls("/v1/usage?tenant=none"))
	for _, query := range []string{"by=x", "since=yesterday", "until=2026-13-01", "since=2026-01-02&until=2026-01-01", "since=1999-01-01"} {
		assert.Equal(t, http.StatusBadRequest, w.do(http.MethodGet, "/v1/usage?"+query, nil).status, query)
	}
}
