package audit_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
)

// aged makes a log of files with one entry each, of which so many are ten days old.
func aged(t *testing.T, old int) string {
	t.Helper()
	dir := t.TempDir()
	l := opened(t, dir, audit.Config{MaxFileBytes: 1})
	appended(t, l, "a", "b", "c", "d", "e")
	require.NoError(t, l.Close())
	long := time.Now().Add(-240 * time.Hour)
	for first := range old {
		require.NoError(t, os.Chtimes(filepath.Join(dir, audit.NameOf(uint64(first)+1)), long, long))
	}
	return dir
}

// Old files go, and an entry stands for them, so that the chain is still whole.
func TestOldFilesGoAndTheChainStaysWhole(t *testing.T) {
	dir := aged(t, 3)
	l := opened(t, dir, audit.Config{MaxFileBytes: 1, Keep: 24 * time.Hour})
	require.NoError(t, l.Close()) // after the first look for old files
	l = opened(t, dir, audit.Config{MaxFileBytes: 1})
	appended(t, l, "f")
	kept := all(t, l, audit.Query{})
	require.NoError(t, l.Close())
	assert.Equal(t, []string{"d", "e"}, whats(kept)[:2])
	assert.Contains(t, whats(kept), "removeAudit")
	report, err := audit.Verify(dir, "")
	require.NoError(t, err)
	assert.EqualValues(t, 4, report.First)
	assert.Zero(t, report.Unexplained)
	for _, e := range kept {
		if e.Removed != nil {
			assert.EqualValues(t, 3, e.Removed.Through)
			assert.Equal(t, "server", e.Who)
		}
	}
	_, err = audit.Verify(dir, kept[0].Hash)
	require.NoError(t, err)

	// What somebody removes besides is missed.
	require.NoError(t, os.Remove(filepath.Join(dir, audit.NameOf(4))))
	report, err = audit.Verify(dir, "")
	require.NoError(t, err)
	assert.EqualValues(t, 4, report.Unexplained)
	require.NoError(t, os.Remove(filepath.Join(dir, audit.NameOf(6))))
	_, err = audit.Verify(dir, "")
	require.ErrorIs(t, err, status.ErrDataLoss)
}

func TestNothingIsRemovedUnasked(t *testing.T) {
	for _, test := range []struct {
		old  int
		keep time.Duration
		kept int
	}{{3, 0, 5}, {3, 480 * time.Hour, 5}, {0, 24 * time.Hour, 5}, {5, 24 * time.Hour, 2}} { // the last file stays, and says so
		dir := aged(t, test.old)
		l := opened(t, dir, audit.Config{Keep: test.keep})
		require.NoError(t, l.Close())
		report, err := audit.Verify(dir, "")
		require.NoError(t, err)
		assert.Equal(t, test.kept, report.Entries, "%+v", test)
		assert.Zero(t, report.Unexplained)
	}
}

// Nobody but the log itself says that entries were removed.
func TestAnEntryOfOthersRemovesNothing(t *testing.T) {
	dir := t.TempDir()
	l := opened(t, dir, audit.Config{})
	e, err := l.Append(audit.Entry{What: "removeAudit", Result: "OK", Removed: &audit.Removal{Through: 7}})
	require.NoError(t, err)
	assert.Nil(t, e.Removed)
}
