package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
)

const mergePatch = "Content-Type: application/merge-patch+json"

// send sends a body, none when it is empty.
func (w *world) send(method, path, body string, headers ...string) reply {
	w.t.Helper()
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
		if !strings.Contains(strings.Join(headers, "\n"), "Content-Type") {
			headers = append(headers, jsonType)
		}
	}
	return w.do(method, path, b, headers...)
}

func (r reply) into(t *testing.T, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(r.body), v), r.body)
}

func (w *world) createTenant(name string) admin.Tenant {
	w.t.Helper()
	r := w.send("POST", "/v1/tenants", fmt.Sprintf(`{"name":%q}`, name))
	require.Equal(w.t, http.StatusCreated, r.status, r.body)
	var made admin.Tenant
	r.into(w.t, &made)
	return made
}

// deleteTenant deletes a tenant and waits until it is gone.
func (w *world) deleteTenant(name string) {
	w.t.Helper()
	r := w.do("DELETE", "/v1/tenants/"+name, nil)
	require.Equal(w.t, http.StatusAccepted, r.status, r.body)
	require.Eventually(w.t, func() bool {
		var o admin.Operation
		w.do("GET", r.header.Get("Location"), nil).into(w.t, &o)
		return o.State == admin.Succeeded
	}, 20*time.Second, time.Millisecond)
}

func TestATenantIsAResource(t *testing.T) {
	w := newWorld(t, nil)
	made := w.createTenant("New-1.x_Y")
	path := "/v1/tenants/New-1.x_Y"
	got := w.do("GET", path, nil)
	etag := got.header.Get("ETag")
	assert.Equal(t, `"`+made.Revision+`"`, etag)
	for header, code := range map[string]int{
		etag: 304, "W/" + etag: 304, "*": 304, `"x", ` + etag: 304, `"x"`: 200, "": 200, made.Revision: 200,
	} {
		r := w.do("GET", path, nil, "If-None-Match: "+header)
		assert.Equal(t, code, r.status, header)
		assert.Equal(t, etag, r.header.Get("ETag"), header)
		assert.Equal(t, code == 304, r.body == "", header)
		assert.Equal(t, code, w.do("HEAD", path, nil, "If-None-Match: "+header).status, header)
	}
	for header, code := range map[string]int{`"x"`: 412, "W/" + etag: 412, made.Revision: 412, "": 412} {
		for _, method := range []string{"PATCH", "DELETE", "POST"} {
			at := path
			if method == "POST" {
				at += "/suspend"
			}
			r := w.send(method, at, `{"displayName":"x"}`, "If-Match: "+header)
			assert.Equal(t, code, r.status, "%s with %q: %s", method, header, r.body)
		}
	}
	assert.Equal(t, 428, w.send("PATCH", path, `{"displayName":"x"}`).status)
	r := w.send("PATCH", path, `{"displayName":"x","quota":{"queue":3}}`, mergePatch, "If-Match: "+etag)
	require.Equal(t, 200, r.status, r.body)
	assert.NotEqual(t, etag, r.header.Get("ETag"))
	assert.Equal(t, 412, w.send("PATCH", path, `{"displayName":"y"}`, "If-Match: "+etag).status, "the first change has won")
	assert.Equal(t, 200, w.send("PATCH", path, `{"displayName":"y"}`, "If-Match: "+r.header.Get("ETag")).status)
	for body, code := range map[string]int{
		``: 400, `[]`: 400, `{"name":"other"}`: 400, `{"state":"active"}`: 400, `{"revision":"x"}`: 400, `{"quota":{"queue":-1}}`: 400, `{"Labels":{}}`: 400,
		`{"labels":{"a":"b"},"labels":{}}`: 400, `{"displayName":"` + strings.Repeat("x", 70_000) + `"}`: 413,
	} {
		r := w.send("PATCH", path, body, "If-Match: *")
		assert.Equal(t, code, r.status, "%.60s: %s", body, r.body)
		r.problem(t)
	}
	assert.Equal(t, 415, w.send("PATCH", path, `{}`, "If-Match: *", "Content-Type: text/plain").status)
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		assert.Equal(t, 404, w.send(method, "/v1/tenants/none", `{}`, "If-Match: *").status, method)
	}
	for body, code := range map[string]int{
		``: 400, `{}`: 400, `{"name":""}`: 400, `{"name":"a/b"}`: 400, `{"name":"../a"}`: 400, `{"name":1}`: 400, `{"Name":"x"}`: 400, `{"name":"x","state":"active"}`: 400,
		`{"name":"New-1.x_Y"}`: 409, `{"name":"x","limits":{"timeout":1}}`: 400,
	} {
		r := w.send("POST", "/v1/tenants", body)
		assert.Equal(t, code, r.status, "%s: %s", body, r.body)
	}
}

// A page that follows a cursor shows each item once, whatever comes and goes meanwhile.
func TestListsComeInPages(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 5 {
		require.Equal(t, http.StatusCreated, w.put(fmt.Sprintf("m%d", i), calc(t)).status)
		w.createTenant(fmt.Sprintf("t%d", i))
	}
	for i := range 4 {
		body, kind := form(t, "module", string(calc(t)), "policy", fmt.Sprintf(`{"limits":{"timeoutMs":%d}}`, i+1))
		require.Equal(t, http.StatusCreated, w.do("PUT", tenant+"/modules/m0", body, kind).status)
	}
	for _, list := range []struct{ path, member, key string }{
		{tenant + "/modules", "modules", "name"},
		{tenant + "/modules/m0/versions", "versions", "revision"},
		{tenant + "/actions", "actions", "key"},
		{tenant + "/actions?type=tool", "actions", "key"},
		{"/v1/tenants", "tenants", "name"},
	} {
		keys := func(path string) (keys []string, cursor string) {
			r := w.do("GET", path, nil)
			require.Equal(t, 200, r.status, r.body)
			var page map[string]json.RawMessage
			r.into(t, &page)
			var items []map[string]any
			require.NoError(t, json.Unmarshal(page[list.member], &items))
			for _, item := range items {
				keys = append(keys, fmt.Sprint(item[list.key]))
			}
			if raw, ok := page["cursor"]; ok {
				require.NoError(t, json.Unmarshal(raw, &cursor))
			}
			return keys, cursor
		}
		and := "?"
		if strings.Contains(list.path, "?") {
			and = "&"
		}
		all, none := keys(list.path)
		assert.Empty(t, none, "without a limit all come")
		require.Greater(t, len(all), 3, list.path)
		for _, limit := range []int{1, 2, 3, len(all), 1000} {
			var paged []string
			at := list.path + and + fmt.Sprint("limit=", limit)
			for pages := 0; ; pages++ {
				require.Less(t, pages, 100)
				page, cursor := keys(at)
				require.LessOrEqual(t, len(page), limit)
				paged = append(paged, page...)
				if cursor == "" {
					break
				}
				at = list.path + and + fmt.Sprint("limit=", limit, "&cursor=", url.QueryEscape(cursor))
			}
			assert.ElementsMatch(t, all, paged, "%s by %d", list.path, limit)
			if list.member != "actions" {
				assert.Equal(t, all, paged, "%s by %d", list.path, limit)
			}
		}
		for _, bad := range []string{"limit=0", "limit=1001", "limit=-1", "limit=x", "limit=", "limit=1.0", "cursor=x", "cursor=", "cursor=" + strings.Repeat("A", 5000), "cursor=b3RoZXIKeA"} {
			r := w.do("GET", list.path+and+bad, nil)
			assert.Equal(t, 400, r.status, "%s %s", list.path, bad)
			r.problem(t)
		}
	}
	// A tenant that goes does not make a later one come twice, or not at all.
	var page struct {
		Tenants []admin.Tenant
		Cursor  string
	}
	w.do("GET", "/v1/tenants?limit=3", nil).into(t, &page)
	w.deleteTenant(page.Tenants[2].Name)
	w.createTenant("a-first")
	last := page.Tenants[2].Name
	w.do("GET", "/v1/tenants?limit=1&cursor="+page.Cursor, nil).into(t, &page)
	assert.Greater(t, page.Tenants[0].Name, last)
	assert.Equal(t, "t1", page.Tenants[0].Name)
}

func TestTheFirstPageOfActionsHasTheRest(t *testing.T) {
	w := newWorld(t, nil)
	var first, second struct {
		Actions    []json.RawMessage
		Middleware []json.RawMessage
		Cursor     string
	}
	reg, err := w.registry("default")
	require.NoError(t, err)
	f, err := middleware.New(middleware.Desc{Name: "count"}, func(context.Context, json.RawMessage) (*middleware.Hooks, error) { return &middleware.Hooks{}, nil })
	require.NoError(t, err)
	require.NoError(t, middleware.Register(reg, f))
	w.do("GET", tenant+"/actions?limit=1", nil).into(t, &first)
	w.do("GET", tenant+"/actions?limit=1&cursor="+first.Cursor, nil).into(t, &second)
	assert.NotEqual(t, first.Actions, second.Actions)
	assert.Len(t, first.Middleware, 1)
	assert.Empty(t, second.Middleware)
}

// A call that is under way when its tenant is suspended ends, and its caller reads why.
func TestCallsEndWhenTheirTenantIsSuspended(t *testing.T) {
	for name, path := range map[string]string{"plain": "/tools/native/slow", "streamed": "/tools/native/slow?stream=true"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.createTenant("acme2")
			answer := make(chan reply, 1)
			go func() { answer <- w.send("POST", "/v1/tenants/acme2"+path, `{}`) }()
			<-w.running
			require.Equal(t, 200, w.do("POST", "/v1/tenants/acme2/suspend", nil).status)
			<-w.left
			r := <-answer
			assert.Contains(t, r.body, "the tenant is suspended")
			assert.Contains(t, r.body, "PERMISSION_DENIED")
			for method, path := range map[string]string{"POST": "/tools/native/pretty", "PUT": "/modules/x"} {
				r := w.send(method, "/v1/tenants/acme2"+path, `{}`)
				assert.Equal(t, 403, r.status)
				assert.Equal(t, "the tenant is suspended", r.problem(t).Detail)
			}
			flow := w.send("POST", "/v1/tenants/acme2/flows/menu/suggest", `{}`)
			assert.Equal(t, 403, flow.status)
			assert.JSONEq(t, `{"status":"PERMISSION_DENIED","message":"the tenant is suspended","details":{"state":"suspended"}}`, flow.body)
			for _, path := range []string{"/modules", "/usage", "/actions", ""} {
				assert.Equal(t, 200, w.do("GET", "/v1/tenants/acme2"+path, nil).status, path)
			}
			assert.Equal(t, 200, w.do("POST", "/v1/tenants/acme2/resume", nil).status)
			assert.Equal(t, 200, w.send("POST", "/v1/tenants/acme2/tools/native/pretty", `{}`).status)
		})
	}
}

// A body that comes slowly is no way round.
func TestAnUploadEndsWhenItsTenantIsSuspended(t *testing.T) {
	w := newWorld(t, nil)
	begun, rest := make(chan struct{}), make(chan struct{})
	answer := make(chan reply, 1)
	wasm := calc(t)
	go func() {
		body := io.MultiReader(strings.NewReader(string(wasm[:8])), waiting{begun, rest}, strings.NewReader(string(wasm[8:])))
		answer <- w.do("PUT", "/v1/tenants/acme/modules/calc", body, wasmType)
	}()
	<-begun
	require.Equal(t, 200, w.do("POST", "/v1/tenants/acme/suspend", nil).status)
	close(rest)
	r := <-answer
	assert.Equal(t, 403, r.status, r.body)
	require.Equal(t, 200, w.do("POST", "/v1/tenants/acme/resume", nil).status)
	assert.Equal(t, 404, w.do("GET", "/v1/tenants/acme/modules/calc", nil).status)
}

// waiting reads nothing, after it has waited.
type waiting struct{ begun, rest chan struct{} }

func (w waiting) Read([]byte) (int, error) {
	close(w.begun)
	<-w.rest
	return 0, io.EOF
}

// A flow that runs on without its reader ends with its tenant; the next tenant of the name
// does not read its stream.
func TestAKeptStreamIsOneTenants(t *testing.T) {
	m := durable.NewMemory(durable.MemoryConfig{})
	t.Cleanup(m.Close)
	w := newWorld(t, func(c *server.Config) { c.FlowStreams = m })
	w.createTenant("acme2")
	flow := "/v1/tenants/acme2/flows/menu/suggest"
	r := w.send("POST", flow, `{"data":"of the first"}`, sse)
	id := r.header.Get("X-Genkit-Stream-Id")
	require.NotEmpty(t, id)
	again := w.send("POST", flow, `{}`, sse, "X-Genkit-Stream-Id: "+id)
	assert.Contains(t, again.body, "of the first")
	w.deleteTenant("acme2")
	w.createTenant("acme2")
	gone := w.send("POST", flow, `{}`, sse, "X-Genkit-Stream-Id: "+id)
	assert.Equal(t, http.StatusNoContent, gone.status, gone.body)

	ended := make(chan reply, 1)
	go func() { ended <- w.send("POST", "/v1/tenants/acme2/flows/waits", `{}`, sse) }()
	<-w.waiting
	require.Equal(t, 200, w.do("POST", "/v1/tenants/acme2/suspend", nil).status)
	<-ended
	require.NoError(t, w.api.Close(t.Context()), "a flow of a suspended tenant runs on")
}

// Deleting a tenant ends what runs of it.
func TestCallsEndWhenTheirTenantIsDeleted(t *testing.T) {
	w := newWorld(t, nil)
	w.createTenant("acme2")
	answer := make(chan reply, 1)
	go func() { answer <- w.send("POST", "/v1/tenants/acme2/tools/native/slow", `{}`) }()
	<-w.running
	w.deleteTenant("acme2")
	<-w.left
	assert.Contains(t, []int{403, 404}, (<-answer).status)
	assert.Equal(t, 404, w.send("POST", "/v1/tenants/acme2/tools/native/pretty", `{}`).status)
}

func TestACreationCanBeSentAgain(t *testing.T) {
	w := newWorld(t, nil)
	const body, key = `{"name":"acme2","quota":{"queue":3}}`, "Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324"
	var wg sync.WaitGroup
	var mu sync.Mutex
	bodies := map[string]int{}
	for range 8 {
		wg.Go(func() {
			r := w.send("POST", "/v1/tenants", body, key)
			mu.Lock()
			defer mu.Unlock()
			assert.Equal(t, 201, r.status, r.body)
			assert.Equal(t, "/v1/tenants/acme2", r.header.Get("Location"))
			bodies[strings.TrimSpace(r.body)+r.header.Get("ETag")]++
		})
	}
	wg.Wait()
	assert.Len(t, bodies, 1, "all read the same answer")
	spaced := w.send("POST", "/v1/tenants", `{ "quota": {"queue": 3}, "name": "acme2" }`, key)
	assert.Equal(t, 201, spaced.status, "the same request in other words")
	assert.Equal(t, "true", spaced.header.Get("Idempotency-Replayed"))
	assert.Equal(t, 422, w.send("POST", "/v1/tenants", `{"name":"acme2"}`, key).status)
	assert.Equal(t, 409, w.send("POST", "/v1/tenants", body, "Idempotency-Key: another").status)
	assert.Equal(t, 409, w.send("POST", "/v1/tenants", body).status)
	assert.Equal(t, 400, w.send("POST", "/v1/tenants", body, "Idempotency-Key: a b").status)
	w.deleteTenant("acme2")
	assert.Equal(t, 201, w.send("POST", "/v1/tenants", body, key).status, "the answer is what it was")
	assert.Equal(t, 404, w.do("GET", "/v1/tenants/acme2", nil).status)
}

// A server whose tenants are no resources has no such routes, and a document that says so.
func TestAServerWithoutTheServiceHasNoSuchRoutes(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.Tenants, c.Secrets = nil, nil })
	assert.Equal(t, 404, w.do("GET", "/v1/tenants", nil).status)
	assert.Equal(t, 404, w.do("GET", "/v1/operations", nil).status)
	doc := openAPI(t, w)
	assert.NotContains(t, doc["paths"], "/v1/tenants")
	assert.NotContains(t, doc["components"].(object)["schemas"], "Tenant")
	assert.NotContains(t, w.do("GET", "/", nil).body, `"/v1/tenants"`)
}

// The answers about tenants match the schemas that the document gives for them.
func TestAnswersAboutTenantsMatchTheDocument(t *testing.T) {
	w := newWorldOf(t, wasmhost.Config{}, nil)
	rich := w.send("POST", "/v1/tenants", `{"name":"rich","displayName":"R","labels":{"a":"b"},"limits":{"timeoutMs":1},"grants":{"http":[{"host":"a.b","ports":[1],"methods":["*"]}],"kv":true,"secrets":{"A":["x.y"]},"generate":["*"],"actions":["a/*"],"clock":true,"rewrite":true,"files":[{"mount":"m","path":"/x","write":true}]},"quota":{"weight":2},"group":"g"}`)
	require.Equal(t, 201, rich.status, rich.body)
	deleted := w.do("DELETE", "/v1/tenants/acme", nil)
	for name, test := range map[string]struct {
		reply                reply
		path, method, status string
	}{
		"created":    {rich, "/v1/tenants", "post", "201"},
		"got":        {w.do("GET", "/v1/tenants/rich", nil), "/v1/tenants/{tenant}", "get", "200"},
		"listed":     {w.do("GET", "/v1/tenants?limit=1", nil), "/v1/tenants", "get", "200"},
		"changed":    {w.send("PATCH", "/v1/tenants/rich", `{"group":null}`, "If-Match: *"), "/v1/tenants/{tenant}", "patch", "200"},
		"suspended":  {w.do("POST", "/v1/tenants/rich/suspend", nil), "/v1/tenants/{tenant}/suspend", "post", "200"},
		"resumed":    {w.do("POST", "/v1/tenants/rich/resume", nil), "/v1/tenants/{tenant}/resume", "post", "200"},
		"deleted":    {deleted, "/v1/tenants/{tenant}", "delete", "202"},
		"operation":  {w.do("GET", deleted.header.Get("Location"), nil), "/v1/operations/{operation}", "get", "200"},
		"operations": {w.do("GET", "/v1/operations?limit=1", nil), "/v1/operations", "get", "200"},
		"stale":      {w.send("PATCH", "/v1/tenants/rich", `{}`, `If-Match: "x"`), "/v1/tenants/{tenant}", "patch", "412"},
		"unasked":    {w.send("PATCH", "/v1/tenants/rich", `{}`), "/v1/tenants/{tenant}", "patch", "428"},
	} {
		t.Run(name, func(t *testing.T) { assertDocumented(t, w, test.reply, test.path, test.method, test.status) })
	}
}

// The cursor of one list is none of another.
func TestACursorIsOfOneList(t *testing.T) {
	w := newWorld(t, nil)
	var page struct{ Cursor string }
	w.do("GET", "/v1/tenants?limit=1", nil).into(t, &page)
	require.NotEmpty(t, page.Cursor)
	for path, code := range map[string]int{"/v1/tenants": 200, "/v1/operations": 400, tenant + "/modules": 400, tenant + "/actions": 400} {
		assert.Equal(t, code, w.do("GET", path+"?cursor="+page.Cursor, nil).status, path)
	}
}

// What the document says of settings is what is accepted: numbers that are whole as JSON Schema has it, lengths in
// characters, no null, and no number that some readers of JSON can't tell from the next one.
func TestSettingsAreReadAsTheDocumentSays(t *testing.T) {
	w := newWorld(t, nil)
	for i, test := range []struct {
		settings string
		status   int
	}{
		{`"quota":{"modules":3.0,"fuelPerMinute":1e3}`, 201},
		{`"quota":{"modules":3.5}`, 400},
		{`"displayName":"` + strings.Repeat("ä", 200) + `"`, 201},
		{`"displayName":"` + strings.Repeat("ä", 201) + `"`, 400},
		{`"labels":{"a":"` + strings.Repeat("ä", 128) + `"}`, 201},
		{`"labels":{"a":"` + strings.Repeat("ä", 129) + `"}`, 400},
		{`"displayName":null`, 400},
		{`"limits":{"kvValueBytes":null}`, 400},
		{`"limits":{"fuel":9007199254740991}`, 201},
		{`"limits":{"fuel":9007199254740992}`, 400},
	} {
		r := w.send("POST", "/v1/tenants", fmt.Sprintf(`{"name":"t%d",%s}`, i, test.settings))
		assert.Equal(t, test.status, r.status, "%s: %s", test.settings, r.body)
	}
}
