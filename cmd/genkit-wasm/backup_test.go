package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/datadir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/backup"
)

var calcSpace = kv.Namespace{Tenant: "acme", Module: "calc"}

// withValues runs f with the values of a data directory that no server has.
func withValues(t *testing.T, data string, f func(store *kv.File)) {
	t.Helper()
	store, err := kv.Open(filepath.Join(data, "kv.db"), nil)
	require.NoError(t, err)
	f(store)
	require.NoError(t, store.Close())
}

// ask sends a request with a key, and returns the answer.
func ask(t *testing.T, method, url, key, body string) (code int, answer string, header http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := httpClient().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(raw), resp.Header
}

// keptBy is what a server answers about what it keeps. That a key was used, and what was done since the start, changes
// with each question.
func keptBy(t *testing.T, url, key string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, path := range []string{
		"/tenants", "/tenants/acme", "/tenants/idle", "/tenants/gone", "/tenants/acme/budget", "/keys", "/operations", "/tenants/acme/modules", "/tenants/acme/modules/calc",
		"/tenants/acme/modules/calc/versions", "/tenants/default/modules", "/tenants/acme/actions", "/tenants/acme/secrets", "/tenants/acme/credentials", "/usage?by=tenant,tool",
	} {
		code, body, header := ask(t, http.MethodGet, url+"/v1"+path, key, "")
		body = regexp.MustCompile(`,"(lastUsedAt|request_id)":"[^"]*"|,"progress":\{[^}]*\}|"delivered":\d+,`).ReplaceAllString(body, "")
		all[path] = fmt.Sprint(code, " ", header.Get("ETag"), " ", body)
	}
	return all
}

// askedOnce posts under an Idempotency-Key, and returns the answer.
func askedOnce(t *testing.T, url, key, path, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Idempotency-Key", "once")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	return string(answer)
}

// TestARestoredServerAnswersAsTheOldOneDid goes through what a server keeps.
func TestARestoredServerAnswersAsTheOldOneDid(t *testing.T) {
	data, place := t.TempDir(), t.TempDir()
	secretsKey := filepath.Join(place, "secrets.key")
	made := cli(t, "secret", "key")
	require.NoError(t, os.WriteFile(secretsKey, []byte(made.out), 0o600))
	sink := filepath.Join(place, "events.jsonl")
	url, admin, _, stop := startGuarded(t, data, "--secrets-key-file", secretsKey, "--usage-sink", `{"file":"`+sink+`"}`)
	t.Setenv(keyEnv, admin)
	on := func(args ...string) outcome {
		t.Helper()
		got := cli(t, append(args, "--server", url)...)
		require.Equal(t, exitOK, got.exit, "%v: %s", args, got.err)
		return got
	}
	on("tenant", "create", "acme", "--quota", `{"modules":7}`)
	on("tenant", "create", "idle")
	on("tenant", "create", "gone")
	on("tenant", "suspend", "idle")
	on("tenant", "rm", "gone", "--yes")
	on("upload", calcFile, "--tenant", "acme")
	on("upload", "../../examples/units/units.wasm", "--name", "calc", "--tenant", "acme")
	on("rollback", "calc", "--tenant", "acme")
	require.Equal(t, exitOK, cliWith(t, firstSecret, "secret", "set", "API_KEY", "--tenant", "acme", "--server", url).exit)
	require.Equal(t, exitOK, cliWith(t, tenantKey, "credential", "set", "openai", "--tenant", "acme", "--server", url).exit)
	on("call", "calc/add", "--tenant", "acme", "--input", `{"a":1,"b":2}`)
	revoked := tokenForm.FindString(on("key", "create", "old", "--scope", "admin").out)
	on("key", "revoke", strings.Split(revoked, "_")[1], "--yes")

	stop() // a value, of a module that is there: others are dropped when a server starts
	withValues(t, data, func(store *kv.File) {
		require.NoError(t, store.Set(t.Context(), calcSpace, "a", json.RawMessage(`{"n":1}`), kv.SetOptions{}, kv.Quota{Keys: 9, Bytes: 999, ValueBytes: 99}))
	})
	url, _, _, stop = start(t, data, "--auth", "--secrets-key-file", secretsKey, "--usage-sink", `{"file":"`+sink+`"}`)

	names, err := os.ReadDir(data)
	require.NoError(t, err)
	for _, n := range names {
		assert.True(t, n.Name() == datadir.Cache || n.Name() == datadir.CodeKey || slices.Contains(datadir.Parts(), n.Name()), "%s is in the data directory, and in no backup", n.Name())
	}
	once := tokenForm.FindString(askedOnce(t, url, admin, "/v1/keys", `{"name":"once","scopes":["admin"]}`))
	assert.NotContains(t, askedOnce(t, url, admin, "/v1/keys", `{"name":"once","scopes":["admin"]}`), once, "the kept answer has no token")
	file := filepath.Join(place, "backup.tar")
	want := keptBy(t, url, admin)
	got := on("backup", file)
	assert.Regexp(t, `^.*backup\.tar: \d+ files, .* KiB, of .*; the audit log ends with entry \d+, [0-9a-f]{64}\n$`, got.out)
	again := cli(t, "backup", file, "--server", url)
	assert.Equal(t, exitUsage, again.exit)
	assert.Contains(t, again.err, "does not replace a file")
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	var onDisk strings.Builder
	writeAll(t, &onDisk, data, "")
	for _, secret := range []string{firstSecret, tenantKey, admin[21:], revoked[21:], once[21:], "AGE-SECRET-KEY"} {
		assert.NotContains(t, string(raw), secret, "in the backup")
		if strings.Contains(onDisk.String(), secret) { // all of it is not for a message
			t.Error("a secret is in the data directory")
		}
	}
	piped := on("backup", "-").out
	_, err = backup.Read(strings.NewReader(piped), datadir.Parts(), func(*backup.File) error { return nil })
	require.NoError(t, err)
	inUse := cli(t, "backup", filepath.Join(place, "x.tar"), "--data", data)
	assert.Equal(t, exitFailed, inUse.exit)
	assert.Contains(t, inUse.err, "in use")
	assert.Contains(t, on("audit", "--what", "getBackup").out, "/v1/backup")
	left, err := os.ReadDir(place)
	require.NoError(t, err)
	assert.Len(t, left, 3, "a key, events and one backup")
	stop()

	restored := filepath.Join(place, "restored")
	dry := cli(t, "restore", file, "--data", restored, "--dry-run")
	require.Equal(t, exitOK, dry.exit, dry.err)
	assert.Regexp(t, `3 tenants, 2 keys, 1 modules, 1 values, 2 secrets, \d+ calls in the accounts; would be restored into`, dry.out)
	assert.NoDirExists(t, restored)
	full := cli(t, "restore", file, "--data", data)
	assert.Equal(t, exitFailed, full.exit)
	assert.Contains(t, full.err, "is not empty")
	back := cliWith(t, string(raw), "restore", "-", "--data", restored, "-o", "json")
	require.Equal(t, exitOK, back.exit, back.err)
	assert.Contains(t, back.out, `"dryRun": false`)

	newURL, printed, _, stop := start(t, restored, "--auth", "--secrets-key-file", secretsKey, "--usage-sink", `{"file":"`+filepath.Join(place, "events2.jsonl")+`"}`)
	assert.NotContains(t, printed, "gwk_", "there is an admin key already")
	assert.Equal(t, want, keptBy(t, newURL, admin))
	code, body, _ := ask(t, http.MethodPost, newURL+"/v1/tenants/acme/tools/calc/add", admin, `{"input":{"a":1,"b":2}}`)
	assert.Equal(t, http.StatusOK, code, body)
	code, _, _ = ask(t, http.MethodGet, newURL+"/v1/keys", revoked, "")
	assert.Equal(t, http.StatusUnauthorized, code)
	stop()
	withValues(t, restored, func(store *kv.File) {
		value, err := store.Get(t.Context(), calcSpace, "a")
		require.NoError(t, err)
		assert.JSONEq(t, `{"n":1}`, string(value))
	})
	verified := cli(t, "audit", "verify", "--data", restored, "--known", strings.TrimSpace(got.out[strings.LastIndex(strings.TrimSpace(got.out), " ")+1:]))
	assert.Equal(t, exitOK, verified.exit, verified.err)

	offline := filepath.Join(place, "offline.tar")
	require.Equal(t, exitOK, cli(t, "backup", offline, "--data", restored).exit)
	require.Equal(t, exitOK, cli(t, "restore", offline, "--data", filepath.Join(place, "third")).exit)
}

// TestABackupWhileChangesGoOn has callers create tenants with a secret, and keys, and upload, while
// backups are made. Each has all that was acknowledged before it was asked for, and nothing half.
func TestABackupWhileChangesGoOn(t *testing.T) {
	data, place := t.TempDir(), t.TempDir()
	secretsKey := filepath.Join(place, "secrets.key")
	require.NoError(t, os.WriteFile(secretsKey, []byte(cli(t, "secret", "key").out), 0o600))
	url, admin, _, stop := startGuarded(t, data, "--secrets-key-file", secretsKey)
	t.Setenv(keyEnv, admin)
	wasm, err := os.ReadFile(calcFile)
	require.NoError(t, err)
	var mu sync.Mutex
	var made []string // tenants of which all was acknowledged
	ends, end := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for caller := range 3 {
		callers.Go(func() {
			for i := 0; ends.Err() == nil; i++ {
				name := fmt.Sprintf("t%d-%d", caller, i)
				for _, change := range []struct{ method, path, body string }{
					{"POST", "/tenants", `{"name":"` + name + `"}`},
					{"PUT", "/tenants/" + name + "/secrets/API_KEY", `{"value":"` + firstSecret + `"}`},
					{"PUT", "/tenants/" + name + "/modules/calc", string(wasm)},
					{"POST", "/keys", `{"name":"` + name + `","scopes":["` + name + `:read"]}`},
				} {
					req, err := http.NewRequestWithContext(t.Context(), change.method, url+"/v1"+change.path, bytes.NewReader([]byte(change.body)))
					if !assert.NoError(t, err) {
						return
					}
					req.Header.Set("Authorization", "Bearer "+admin)
					req.Header.Set("Content-Type", "application/json")
					if strings.Contains(change.path, "/modules/") {
						req.Header.Set("Content-Type", "application/wasm")
					}
					resp, err := httpClient().Do(req)
					if !assert.NoError(t, err) {
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					if !assert.Equal(t, http.StatusCreated, resp.StatusCode, change.path) {
						return
					}
				}
				mu.Lock()
				made = append(made, name)
				mu.Unlock()
			}
		})
	}
	acknowledged := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(made)
	}
	rounds, last, want := 5, "", []string(nil)
	if testing.Short() {
		rounds = 1
	}
	for round := range rounds {
		more := len(acknowledged())
		for len(acknowledged()) < more+3 && !t.Failed() { // changes go on
			_, _, _ = ask(t, http.MethodGet, url+"/healthz", "", "")
		}
		want, last = acknowledged(), filepath.Join(place, fmt.Sprintf("%d.tar", round))
		got := cli(t, "backup", last, "--server", url)
		require.Equal(t, exitOK, got.exit, got.err)
		assert.Empty(t, got.err, "no damage")
		checked := cli(t, "restore", last, "--data", filepath.Join(place, "none"), "--dry-run")
		require.Equal(t, exitOK, checked.exit, checked.err)
	}
	end()
	callers.Wait()
	stop()
	restored := filepath.Join(place, "restored")
	require.Equal(t, exitOK, cli(t, "restore", last, "--data", restored).exit)
	url, _, _, _ = start(t, restored, "--auth", "--secrets-key-file", secretsKey)
	_, keys, _ := ask(t, http.MethodGet, url+"/v1/keys?limit=1000", admin, "")
	for _, name := range want {
		for path, find := range map[string]string{"": name, "/modules/calc": `"revision":1`, "/secrets": "API_KEY"} {
			code, body, _ := ask(t, http.MethodGet, url+"/v1/tenants/"+name+path, admin, "")
			assert.Equal(t, http.StatusOK, code, name+path)
			assert.Contains(t, body, find)
		}
		assert.Contains(t, keys, name+":read")
	}
}

func TestWhatIsDamagedIsNotRestored(t *testing.T) {
	data, place := t.TempDir(), t.TempDir()
	_, _, _, stop := start(t, data, "--load", calcFile)
	stop()
	file := filepath.Join(place, "backup.tar")
	require.Equal(t, exitOK, cli(t, "backup", file, "--data", data).exit)
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	target := filepath.Join(place, "target")
	bad := bytes.Clone(raw)
	bad[len(bad)/2] ^= 1
	for what, content := range map[string][]byte{"changed": bad, "cut": raw[:len(raw)/2]} {
		got := cliWith(t, string(content), "restore", "-", "--data", target, "--accept-damage")
		assert.Equal(t, exitFailed, got.exit, what)
		assert.Contains(t, got.err, "the archive is damaged", what)
		assert.NoDirExists(t, target)
	}
	foreign := cliWith(t, "x", "restore", "-", "--data", target)
	assert.Contains(t, foreign.err, "this is no backup")
	assert.Equal(t, exitUsage, cli(t, "restore", filepath.Join(place, "none")).exit)
	assert.Equal(t, exitUsage, cli(t, "backup", filepath.Join(place, "x.tar"), "--data", place+"/none").exit)
	assert.Equal(t, exitUsage, cli(t, "backup", filepath.Join(place, "x.tar"), "--data", t.TempDir()).exit)
	assert.Equal(t, exitUsage, cli(t, "backup", filepath.Join(place, "no", "x.tar"), "--data", data).exit)

	// Damage that the server has already is told, and is restored only when that is asked for.
	blobs, err := filepath.Glob(filepath.Join(data, "modules", "blobs", "*.wasm"))
	require.NoError(t, err)
	require.Len(t, blobs, 1)
	wasm, err := os.ReadFile(blobs[0])
	require.NoError(t, err)
	wasm[len(wasm)-1] ^= 1
	require.NoError(t, os.WriteFile(blobs[0], wasm, 0o600))
	damaged := filepath.Join(place, "damaged.tar")
	got := cli(t, "backup", damaged, "--data", data)
	assert.Equal(t, exitOK, got.exit)
	assert.Contains(t, got.err, "are damaged where the server has them")
	for _, args := range [][]string{{"--dry-run"}, {}} {
		got = cli(t, append([]string{"restore", damaged, "--data", target}, args...)...)
		assert.Equal(t, exitFailed, got.exit)
		assert.Contains(t, got.err, `revision 1 of module "calc" of tenant "default"`)
		assert.Contains(t, got.err, "--accept-damage")
		assert.NoDirExists(t, target)
	}
	require.Equal(t, exitOK, cli(t, "restore", damaged, "--data", target, "--accept-damage").exit)

	// A restore that was killed leaves a directory that no server takes.
	half := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(half, backup.Unfinished), 0o700))
	for _, args := range [][]string{{"serve", "--addr", "127.0.0.1:0"}, {"restore", file}, {"backup", filepath.Join(place, "y.tar")}} {
		got := cli(t, append(args, "--data", half)...)
		assert.Equal(t, exitFailed, got.exit, args)
		assert.Contains(t, got.err, "a restore into", args)
	}
	entries, err := os.ReadDir(half)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing was put beside it")
}
