package server_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/backup"
)

func TestABackupOverTheAPI(t *testing.T) {
	g := newGuarded(t, nil)
	r := g.do(http.MethodGet, "/v1/backup", nil, bearer(g.key("admin")))
	require.Equal(t, http.StatusOK, r.status, r.body)
	assert.Equal(t, "application/x-tar", r.header.Get("Content-Type"))
	assert.Equal(t, "no-store", r.header.Get("Cache-Control"))
	found := map[string]string{}
	_, err := backup.Read(strings.NewReader(r.body), []string{"kept"}, func(f *backup.File) error {
		content, err := io.ReadAll(f)
		found[f.Name] = string(content)
		return err
	})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"kept/file": "content"}, found)
	head := g.do(http.MethodHead, "/v1/backup", nil, bearer(g.key("admin")))
	assert.Equal(t, http.StatusOK, head.status)
	assert.Equal(t, http.StatusForbidden, g.do(http.MethodGet, "/v1/backup", nil, bearer(g.key("default:manage"))).status)
}

// TestABackupThatBreaksOffIsNotTakenForWhole cuts off a file that is being sent. While it is, another
// backup is refused.
func TestABackupThatBreaksOffIsNotTakenForWhole(t *testing.T) {
	dir := t.TempDir()
	long := filepath.Join(dir, "kept")
	require.NoError(t, os.WriteFile(long, nil, 0o600))
	require.NoError(t, os.Truncate(long, 64<<20)) // more than is on its way at a time
	g := newGuarded(t, func(c *server.Config) {
		var err error
		c.Backup, err = backup.New(backup.Config{Dir: dir, Parts: []backup.Part{{Name: "kept"}}})
		require.NoError(t, err)
	})
	admin := g.key("admin")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL+"/v1/backup", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+admin)
	resp, err := g.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	busy := g.do(http.MethodGet, "/v1/backup", nil, bearer(admin))
	assert.Equal(t, http.StatusServiceUnavailable, busy.status)
	assert.Equal(t, "5", busy.header.Get("Retry-After"))
	require.NoError(t, os.Truncate(long, 1<<20))
	_, err = io.Copy(io.Discard, resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	again := g.do(http.MethodGet, "/v1/backup", nil, bearer(admin))
	require.Equal(t, http.StatusOK, again.status)
	_, err = backup.Read(bytes.NewReader([]byte(again.body)), []string{"kept"}, func(*backup.File) error { return nil })
	require.NoError(t, err)
}

// panicking is an answer whose body can't be written, in the worst way.
type panicking struct{ *httptest.ResponseRecorder }

func (panicking) Write([]byte) (int, error) { panic("the writer of an answer") }

// A backup during which something panics leaves nothing behind: neither its files, nor the lock
// that keeps others from being made, nor an entry of the audit log without a result.
func TestABackupThatPanicsIsClosed(t *testing.T) {
	g := newGuarded(t, nil)
	admin := g.key("admin")
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, g.URL+"/v1/backup", nil)
	req.Header.Set("Authorization", "Bearer "+admin)
	assert.PanicsWithError(t, http.ErrAbortHandler.Error(), func() { g.Config.Handler.ServeHTTP(panicking{httptest.NewRecorder()}, req) })
	audited := g.do(http.MethodGet, "/v1/audit", nil, bearer(admin))
	assert.Contains(t, audited.body, `500 INTERNAL`)
	again := g.do(http.MethodGet, "/v1/backup", nil, bearer(admin))
	assert.Equal(t, http.StatusOK, again.status, again.body)
}
