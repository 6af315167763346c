package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets"
	accounts "github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// TestNoKillLosesAChange kills a server at random moments, until it has acknowledged 500 changes of
// tenants, quotas, secrets, credentials, keys, and usage. After each kill all that was acknowledged is there,
// the change that was under way is there whole or not at all, and what was revoked lets nobody in. At
// the end the audit log has each of them.
func TestNoKillLosesAChange(t *testing.T) {
	want := 500
	if testing.Short() {
		want = 40
	}
	place := t.TempDir()
	data, key := filepath.Join(place, "data"), write(t, "secrets.key", cli(t, "secret", "key").out)
	w := &victim{t: t, state: map[string]string{}, answers: map[string]int{}, done: map[string]int{}}
	kills := 0
	for ; w.acknowledged() < want && kills < want; kills++ {
		p := serve(t, data, "--auth", "--secrets-key-file", key, "--load", calcFile)
		if kills == 0 {
			w.root = tokenForm.FindString(p.printed)
			require.NotEmpty(t, w.root)
		}
		w.url, w.client = p.url+"/v1", &http.Client{Transport: &http.Transport{}}
		w.verify()
		timer := time.AfterFunc(5*time.Millisecond+rand.N(250*time.Millisecond), func() { _ = p.Process.Kill() })
		for w.change() && !t.Failed() {
		}
		timer.Stop()
		_ = p.Process.Kill()
		_ = p.Wait()
		w.client.CloseIdleConnections()
		if t.Failed() {
			t.Fatalf("%v", &p.log)
		}
	}
	t.Logf("%d servers killed, acknowledged: %v", kills, w.done)
	require.GreaterOrEqual(t, w.acknowledged(), want)
	p := serve(t, data, "--auth", "--secrets-key-file", key)
	w.url, w.client = p.url+"/v1", &http.Client{Transport: &http.Transport{}}
	defer w.client.CloseIdleConnections()
	w.verify()
	w.verifyAudit()
	require.NoError(t, p.Process.Kill())
	_ = p.Wait()
	verified := cli(t, "audit", "verify", "--data", data)
	assert.Equal(t, exitOK, verified.exit, verified.err)
}

// victim is what a server was asked to change, and what it has said.
type victim struct {
	t         *testing.T
	url, root string
	client    *http.Client
	// state is what is there, by "tenant/NAME", "secret/TENANT/NAME", "credential/TENANT/NAME" and "key/NAME"; its value
	// is unknown where a change was under way that the caller does not know the outcome of.
	state map[string]string
	// under is the change under way, when the server was killed; nil when none was.
	under func(state map[string]string)
	ids   map[string]string // of keys, by their names
	dead  []string          // tokens of keys that were revoked or rotated
	// Of the tenant default: its calls of a tool, its tokens in the accounts, and those that count for its budget.
	calls, tokens, spent meter
	answers              map[string]int // status codes, by the ID of the request
	done                 map[string]int // changes that were acknowledged, by their kind
	requests             int
}

// meter is a number that only grows: how much was acknowledged to be stored, and how much was asked for.
type meter struct{ stored, asked int64 }

// found goes on from what a server has after a kill.
func (m *meter) found(t *testing.T, n int64, what string) {
	t.Helper()
	assert.GreaterOrEqual(t, n, m.stored, what)
	assert.LessOrEqual(t, n, m.asked, what)
	m.stored, m.asked = n, n
}

const unknown = "?"

func (w *victim) acknowledged() (n int) {
	for _, count := range w.done {
		n += count
	}
	return n
}

// ask sends a request; false when the server ended before it had answered.
func (w *victim) ask(method, path, token, body string) (code int, answer []byte, header http.Header, ok bool) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	require.NoError(w.t, err)
	w.requests++
	id := fmt.Sprintf("request-%d", w.requests)
	req.Header.Set("X-Request-Id", id)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
		req.Header.Set("If-Match", "*")
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, nil, nil, false
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, nil, false
	}
	if method != http.MethodGet && token == w.root && !strings.Contains(path, "/tools/") && !strings.HasSuffix(path, "/generate") {
		w.answers[id] = resp.StatusCode
	}
	return resp.StatusCode, answer, resp.Header, true
}

// get reads an answer that has to come.
func (w *victim) get(path string, into any) {
	w.t.Helper()
	code, answer, _, ok := w.ask(http.MethodGet, path, w.root, "")
	require.True(w.t, ok, path)
	require.Equal(w.t, http.StatusOK, code, "%s: %s", path, answer)
	require.NoError(w.t, json.Unmarshal(answer, into), path)
}

// change makes one change; false when the server has ended.
func (w *victim) change() bool {
	tenant, number := fmt.Sprintf("t%d", rand.N(3)), fmt.Sprintf("%d-%d", w.requests, rand.N(1000))
	at := "tenant/" + tenant
	was, exists := w.state[at]
	switch kind := rand.N(9); {
	case kind == 0:
		return w.use()
	case kind <= 2:
		return w.changeKey(fmt.Sprintf("k%d", rand.N(4)))
	case !exists:
		now := tenantState("active", number, int64(1+rand.N(1000)))
		return w.try("tenant created", http.MethodPost, "/tenants", tenantBody(tenant, now), func(s map[string]string) { s[at] = now }, nil)
	case kind == 3 && rand.N(4) == 0:
		return w.deleteTenant(tenant)
	case kind == 3, kind > 4 && strings.HasPrefix(was, "suspended"): // then nothing is set
		verb, state := "suspend", "suspended"
		if strings.HasPrefix(was, "suspended") {
			verb, state = "resume", "active"
		}
		_, rest, _ := strings.Cut(was, " ")
		return w.try("tenant "+state, http.MethodPost, "/tenants/"+tenant+"/"+verb, "", func(s map[string]string) { s[at] = state + " " + rest }, nil)
	case kind == 4:
		state, _, _ := strings.Cut(was, " ")
		now := tenantState(state, number, int64(1+rand.N(1000)))
		return w.try("quota", http.MethodPatch, "/tenants/"+tenant, tenantBody("", now), func(s map[string]string) { s[at] = now }, nil)
	default:
		what, path, name := "secret", "/secrets/", fmt.Sprintf("S%d", rand.N(3))
		if kind == 5 {
			what, path, name = "credential", "/credentials/", "openai"
		}
		value := what + "/" + tenant + "/" + name
		path = "/tenants/" + tenant + path + name
		if _, there := w.state[value]; there && rand.N(3) == 0 {
			return w.try(what+" removed", http.MethodDelete, path, "", func(s map[string]string) { delete(s, value) }, nil)
		}
		return w.try(what, http.MethodPut, path, `{"value":"a-value-of-the-test-`+number+`"}`, func(s map[string]string) { s[value] = unknown }, func(s map[string]string, _ []byte, h http.Header) {
			s[value] = strings.Trim(h.Get("ETag"), `"`)
		})
	}
}

func tenantState(state, name string, calls int64) string {
	return fmt.Sprintf("%s %s %d", state, name, calls)
}

// tenantBody is the body that gives a tenant what its state says.
func tenantBody(tenant, state string) string {
	f := strings.Fields(state)
	name := ""
	if tenant != "" {
		name = `"name":"` + tenant + `",`
	}
	return fmt.Sprintf(`{%s"displayName":%q,"quota":{"callsPerMinute":%s},"budget":{"tokensPerDay":%s}}`, name, f[1], f[2], f[2])
}

// try makes a change. apply says what it changes, as far as that is known before it is answered, and known
// the rest.
func (w *victim) try(kind, method, path, body string, apply func(map[string]string), known func(map[string]string, []byte, http.Header)) bool {
	w.t.Helper()
	w.under = apply
	code, answer, header, ok := w.ask(method, path, w.root, body)
	if !ok {
		return false
	}
	w.under = nil
	if !assert.Less(w.t, code, 300, "%s %s: %s", method, path, answer) {
		return false
	}
	apply(w.state)
	if known != nil {
		known(w.state, answer, header)
	}
	w.done[kind]++
	return true
}

// deleteTenant deletes a tenant and waits until that has ended. Once it was begun it comes to its end, whatever
// happens.
func (w *victim) deleteTenant(name string) bool {
	gone := func(s map[string]string) {
		maps.DeleteFunc(s, func(at, _ string) bool {
			return at == "tenant/"+name || strings.HasPrefix(at, "secret/"+name+"/") || strings.HasPrefix(at, "credential/"+name+"/")
		})
	}
	if !w.try("tenant deleted", http.MethodDelete, "/tenants/"+name, "", gone, nil) {
		return false
	}
	for {
		code, _, _, ok := w.ask(http.MethodGet, "/tenants/"+name, w.root, "")
		if !ok || code == http.StatusNotFound {
			return ok
		}
	}
}

func (w *victim) changeKey(name string) bool {
	at := "key/" + name
	token, exists := w.state[at]
	revealed := func(s map[string]string, answer []byte, _ http.Header) {
		var made struct {
			Token string
			Key   struct{ ID string }
		}
		require.NoError(w.t, json.Unmarshal(answer, &made))
		s[at] = made.Token
		w.ids[name] = made.Key.ID
	}
	ended := func(s map[string]string, answer []byte, h http.Header) {
		if token != unknown {
			w.dead = append(w.dead, token)
		}
		if len(answer) > 0 {
			revealed(s, answer, h)
		}
	}
	switch {
	case !exists:
		return w.try("key", http.MethodPost, "/keys", `{"name":"`+name+`","scopes":["default:read"]}`, func(s map[string]string) { s[at] = unknown }, revealed)
	case rand.N(2) == 0:
		return w.try("key rotated", http.MethodPost, "/keys/"+w.ids[name]+"/rotate", `{}`, func(s map[string]string) { s[at] = unknown }, ended)
	}
	return w.try("key revoked", http.MethodDelete, "/keys/"+w.ids[name], "", func(s map[string]string) { delete(s, at) }, ended)
}

// use makes calls, whose sums are stored once a backup has come.
func (w *victim) use() bool {
	const calls, tokens = 2, 7
	for range calls {
		w.calls.asked++
		code, answer, _, ok := w.ask(http.MethodPost, "/tenants/default/tools/calc/add", w.root, `{"input":{"a":1,"b":2}}`)
		if !ok || !assert.Equal(w.t, http.StatusOK, code, "%s", answer) {
			return false
		}
	}
	w.tokens.asked += tokens
	w.spent.asked += tokens
	code, answer, _, ok := w.ask(http.MethodPost, "/tenants/default/generate", w.root, `{"model":"test/scripted","messages":[{"role":"user","content":[{"text":"hi"}]}],`+
		`"config":{"script":[{"message":{"role":"model","content":[{"text":"hi"}]},"usage":{"inputTokens":3,"outputTokens":4,"totalTokens":7}}]}}`)
	if !ok || !assert.Equal(w.t, http.StatusOK, code, "%s", answer) {
		return false
	}
	if code, _, _, ok = w.ask(http.MethodGet, "/backup", w.root, ""); !ok {
		return false
	}
	assert.Equal(w.t, http.StatusOK, code)
	for _, m := range []*meter{&w.calls, &w.tokens, &w.spent} {
		m.stored = m.asked
	}
	w.done["usage"]++
	return true
}

// verify compares what the server has with what it has acknowledged, and goes on from there.
func (w *victim) verify() {
	t := w.t
	t.Helper()
	found := w.found()
	candidates := []map[string]string{w.state}
	if w.under != nil {
		after := maps.Clone(w.state)
		w.under(after)
		candidates = append(candidates, after)
	}
	same := func(want map[string]string) bool {
		return maps.EqualFunc(want, found, func(want, got string) bool { return want == got || want == unknown })
	}
	if !assert.True(t, slices.ContainsFunc(candidates, same), "found %v, want one of %v", found, candidates) {
		t.FailNow()
	}
	w.state, w.under = found, nil
	for _, token := range w.dead[max(0, len(w.dead)-2):] { // more would be throttled
		code, _, _, _ := w.ask(http.MethodGet, "/identity", token, "")
		assert.Equal(t, http.StatusUnauthorized, code, "a key that was revoked or rotated")
	}

	var report accounts.Report
	w.get("/usage?by=tool&since=2d&tenant=default", &report)
	assert.Zero(t, report.Damaged)
	w.calls.found(t, report.Total.Calls, "calls in the accounts")
	w.get("/usage?by=model&since=2d&tenant=default", &report)
	w.tokens.found(t, report.Total.Tokens, "tokens in the accounts")
	var spent admin.Spent
	w.get("/tenants/default/budget", &spent)
	if began := spent.Month.ResetsAt.AddDate(0, -1, 0); time.Since(began) < time.Hour { // the month may have begun meanwhile
		w.spent = meter{asked: w.spent.asked}
	}
	w.spent.found(t, spent.Month.Tokens, "tokens that count for the budget")
}

// found reads what the server has, once no tenant is being deleted.
func (w *victim) found() map[string]string {
	t, found := w.t, map[string]string{}
	t.Helper()
	var tenants struct{ Tenants []admin.Tenant }
	require.Eventually(t, func() bool {
		w.get("/tenants?limit=100", &tenants)
		return !slices.ContainsFunc(tenants.Tenants, func(one admin.Tenant) bool { return one.State == admin.Deleting })
	}, 20*time.Second, time.Millisecond)
	for _, one := range tenants.Tenants {
		assert.Empty(t, one.Problem)
		if one.Name == "default" {
			continue
		}
		found["tenant/"+one.Name] = tenantState(string(one.State), one.DisplayName, one.Quota.CallsPerMinute)
		assert.Equal(t, one.Quota.CallsPerMinute, one.Budget.TokensPerDay, "they are changed together")
		for what, path := range map[string]string{"secret": "secrets", "credential": "credentials"} {
			var list map[string][]secrets.Entry
			w.get("/tenants/"+one.Name+"/"+path, &list)
			for _, e := range list[path] {
				assert.Empty(t, e.Problem)
				found[what+"/"+one.Name+"/"+e.Name] = e.Revision
			}
		}
	}
	var keys struct{ Keys []access.Key }
	w.get("/keys?limit=100", &keys)
	w.ids = map[string]string{}
	for _, k := range keys.Keys {
		if !strings.HasPrefix(k.Name, "k") {
			continue // the first one
		}
		at := "key/" + k.Name
		w.ids[k.Name], found[at] = k.ID, unknown
		if token := w.state[at]; token != "" && token != unknown {
			if code, _, _, _ := w.ask(http.MethodGet, "/identity", token, ""); code == http.StatusOK {
				found[at] = token
			}
		}
	}
	return found
}

// verifyAudit looks for an entry of each change that was answered, with its result.
func (w *victim) verifyAudit() {
	t, results, cursor := w.t, map[string]string{}, ""
	for {
		var page struct {
			Entries []audit.Entry
			Cursor  string
		}
		w.get("/audit?limit=1000"+cursor, &page)
		for _, e := range page.Entries {
			if e.Result != audit.Begun {
				results[e.Request] = e.Result
			}
		}
		if page.Cursor == "" {
			break
		}
		cursor = "&cursor=" + page.Cursor
	}
	for id, code := range w.answers {
		assert.True(t, strings.HasPrefix(results[id], fmt.Sprint(code)), "%s was answered with %d, and the audit log has %q", id, code, results[id])
	}
}

// A second server on a directory says that it is in use, whichever part of the directory is looked at first, and ends.
func TestTwoServersDoNotShareADirectory(t *testing.T) {
	data := t.TempDir()
	url, admin, _, stop := startGuarded(t, data)
	defer stop()
	before := everything(t, data)
	for _, args := range [][]string{
		{"serve", "--addr", "127.0.0.1:0", "--data", data},
		{"serve", "--addr", "127.0.0.1:0", "--data", data, "--auth"},
		{"backup", filepath.Join(t.TempDir(), "x.tar"), "--data", data},
		{"key", "create", "x", "--scope", "admin", "--data", data},
	} {
		got := cli(t, args...)
		assert.NotEqual(t, exitOK, got.exit, "%v", args)
		assert.Contains(t, got.err, "in use by another process", "%v", args)
	}
	assert.Equal(t, before, everything(t, data))
	t.Setenv(keyEnv, admin)
	assert.Equal(t, exitOK, cli(t, "ls", "--server", url).exit, "the first goes on")
	require.NoError(t, os.RemoveAll(filepath.Join(data, "cache")))
}
