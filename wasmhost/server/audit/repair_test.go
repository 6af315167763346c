package audit_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
)

// A damaged log is set aside from the first damaged file on, goes on after what is whole, and tells of it, also
// where the repair was cut off before it could.
func TestADamagedLogIsRepaired(t *testing.T) {
	dir := t.TempDir()
	write := func(n int) {
		t.Helper()
		log, err := audit.Open(dir, audit.Config{MaxFileBytes: 1}) // a file for each entry
		require.NoError(t, err)
		for range n {
			_, err := log.Append(audit.Entry{What: "test", Result: "OK"})
			require.NoError(t, err)
		}
		require.NoError(t, log.Close())
	}
	files := func(prefix string) (names []string) {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(dir, prefix+"*.log"))
		require.NoError(t, err)
		return all
	}
	write(5)
	_, err := audit.Repair(dir, false)
	require.ErrorIs(t, err, status.ErrFailedPrecondition, "a log that is whole is left alone")
	path := files("audit-")[2]
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	at := strings.Index(string(raw), `"what":"test"`)
	require.Positive(t, at)
	raw[at+8] ^= 1
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	before := len(files("audit-"))
	r, err := audit.Repair(dir, true)
	require.NoError(t, err)
	assert.Len(t, r.Files, 3)
	assert.Len(t, files("audit-"), before, "a dry run changes nothing")
	r, err = audit.Repair(dir, false)
	require.NoError(t, err)
	require.ErrorIs(t, r.Problem, status.ErrDataLoss)
	assert.EqualValues(t, 2, r.Head.Seq)
	assert.Len(t, files("damaged-"), 3, "nothing is deleted")
	assert.Empty(t, files("aside-"))
	report, err := audit.Verify(dir, r.Head.Hash)
	require.NoError(t, err)
	assert.Equal(t, 3, report.Repairs)
	assert.Equal(t, 5, report.Entries)

	require.NoError(t, os.Rename(files("damaged-")[0], strings.Replace(files("damaged-")[0], "damaged-", "aside-", 1))) // as a crash leaves it
	write(1)
	report, err = audit.Verify(dir, "")
	require.NoError(t, err)
	assert.Equal(t, 4, report.Repairs)
	assert.Empty(t, files("aside-"))
}
