package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/faultfs"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/journal"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit/audittest"
)

func opened(t *testing.T, dir string, c audit.Config) *audit.Log {
	t.Helper()
	l, err := audit.Open(dir, c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func appended(t *testing.T, l *audit.Log, what ...string) []audit.Entry {
	t.Helper()
	all := make([]audit.Entry, len(what))
	for i, w := range what {
		e, err := l.Append(audit.Entry{Who: "key:a", From: "192.0.2.1", What: w, On: "/v1/tenants/acme", Result: "200", Request: "r"})
		require.NoError(t, err)
		all[i] = e
	}
	return all
}

// all reads the log to its beginning, oldest first.
func all(t *testing.T, l *audit.Log, q audit.Query) (entries []audit.Entry) {
	t.Helper()
	for {
		page, next, err := l.List(q)
		require.NoError(t, err)
		entries = append(entries, page...)
		if q.Before = next; next == 0 {
			slices.Reverse(entries)
			return entries
		}
	}
}

func whats(entries []audit.Entry) (what []string) {
	for _, e := range entries {
		what = append(what, e.What)
	}
	return what
}

func TestALogIsAKeeper(t *testing.T) {
	for name, c := range map[string]audit.Config{"one file": {}, "many files": {MaxFileBytes: 1000}} {
		t.Run(name, func(t *testing.T) {
			audittest.Run(t, func(t *testing.T) audittest.Opened {
				t.Helper()
				dir := t.TempDir()
				l := opened(t, dir, c)
				return audittest.Opened{Keeper: l, Reopen: func() audit.Keeper {
					require.NoError(t, l.Close())
					return opened(t, dir, c)
				}}
			})
		})
	}
}

func TestEntriesAreKeptInOneChain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	l := opened(t, dir, audit.Config{})
	assert.Equal(t, strings.Repeat("0", 64), l.Head().Hash)
	made := appended(t, l, "a", "b", "c")
	assert.Equal(t, []uint64{1, 2, 3}, []uint64{made[0].Seq, made[1].Seq, made[2].Seq})
	assert.WithinDuration(t, time.Now(), made[0].At, time.Hour)
	assert.Equal(t, made, all(t, l, audit.Query{}))
	assert.Equal(t, audit.Head{Seq: 3, Hash: made[2].Hash}, l.Head())
	report, err := audit.Verify(dir, made[1].Hash) // beside the server
	require.NoError(t, err)
	assert.Equal(t, audit.Report{Files: 1, Entries: 3, First: 1, Head: l.Head()}, report)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = l.Append(audit.Entry{What: "d", Result: "200"})
	assert.ErrorIs(t, err, status.ErrUnavailable)
	_, _, err = l.List(audit.Query{})
	assert.ErrorIs(t, err, status.ErrUnavailable)

	l = opened(t, dir, audit.Config{})
	appended(t, l, "d")
	assert.Equal(t, []string{"a", "b", "c", "d"}, whats(all(t, l, audit.Query{Limit: 2})))
	_, err = audit.Open(dir, audit.Config{})
	assert.ErrorIs(t, err, status.ErrFailedPrecondition, "a directory belongs to one process")
}

// Entries that can't be written are counted, until one can be.
func TestFailuresAreCounted(t *testing.T) {
	dir := t.TempDir()
	l := opened(t, dir, audit.Config{})
	appended(t, l, "a")
	file := filepath.Join(dir, audit.NameOf(1))
	require.NoError(t, os.Rename(file, file+".moved"))
	for range 2 {
		_, err := l.Append(audit.Entry{What: "b", Result: "200"})
		require.ErrorIs(t, err, status.ErrUnavailable)
	}
	failed, failing := l.Failures()
	assert.EqualValues(t, 2, failed)
	assert.True(t, failing)
	require.NoError(t, os.Rename(file+".moved", file))
	appended(t, l, "c")
	failed, failing = l.Failures()
	assert.EqualValues(t, 2, failed)
	assert.False(t, failing)
}

func TestTheChainGoesOnAcrossFiles(t *testing.T) {
	dir := t.TempDir()
	l := opened(t, dir, audit.Config{MaxFileBytes: 1})
	var want []string
	for i := range 12 {
		want = append(want, strconv.Itoa(i))
	}
	made := appended(t, l, want...)
	for _, limit := range []int{1, 3, 100} {
		assert.Equal(t, want, whats(all(t, l, audit.Query{Limit: limit})), limit)
	}
	require.NoError(t, l.Close())
	report, err := audit.Verify(dir, made[0].Hash)
	require.NoError(t, err)
	assert.Equal(t, 12, report.Files)
	l = opened(t, dir, audit.Config{MaxFileBytes: 1})
	assert.Equal(t, uint64(12), l.Head().Seq)
	require.NoError(t, l.Close())

	require.NoError(t, os.Remove(filepath.Join(dir, audit.NameOf(1))), "old files may be moved away")
	report, err = audit.Verify(dir, made[0].Hash)
	require.NoError(t, err, "the first file that is left begins with it")
	assert.Equal(t, uint64(2), report.First)
	_, err = audit.Verify(dir, strings.Repeat("0", 64))
	assert.ErrorIs(t, err, status.ErrDataLoss)
	require.NoError(t, os.Remove(filepath.Join(dir, audit.NameOf(5))))
	_, err = audit.Verify(dir, "")
	assert.ErrorIs(t, err, status.ErrDataLoss, "a file in between is missing")
	l = opened(t, dir, audit.Config{})
	_, _, err = l.List(audit.Query{Before: 7})
	assert.ErrorIs(t, err, status.ErrDataLoss)
}

func TestListsFilter(t *testing.T) {
	l := opened(t, t.TempDir(), audit.Config{MaxFileBytes: 600})
	for i := range 20 {
		_, err := l.Append(audit.Entry{Who: fmt.Sprint("w", i%2), What: fmt.Sprint("x", i%5), Result: "200"})
		require.NoError(t, err)
	}
	for name, test := range map[string]struct {
		query audit.Query
		want  int
	}{
		"all":           {audit.Query{}, 20},
		"who":           {audit.Query{Who: "w1"}, 10},
		"what":          {audit.Query{What: "x3"}, 4},
		"both":          {audit.Query{Who: "w1", What: "x3"}, 2},
		"none":          {audit.Query{Who: "nobody"}, 0},
		"since before":  {audit.Query{Since: time.Now().Add(-time.Hour)}, 20},
		"since later":   {audit.Query{Since: time.Now().Add(time.Hour)}, 0},
		"before":        {audit.Query{Before: 5}, 4},
		"before far":    {audit.Query{Before: 1 << 60}, 20},
		"before all":    {audit.Query{Before: 1}, 0},
		"part of a who": {audit.Query{Who: "w"}, 0},
	} {
		for _, limit := range []int{1, 3, 1000} {
			test.query.Limit = limit
			assert.Len(t, all(t, l, test.query), test.want, "%s, %d at a time", name, limit)
		}
	}
}

// What an attacker who can write the files does to them, sums of the journal included.
func TestVerifyFindsWhatWasDone(t *testing.T) {
	type edit = func(payloads [][]byte) [][]byte
	for name, test := range map[string]struct {
		edit edit
		want string
	}{
		"nothing":           {func(p [][]byte) [][]byte { return p }, ""},
		"a changed entry":   {func(p [][]byte) [][]byte { p[1] = bytes.Replace(p[1], []byte("acme"), []byte("evil"), 1); return p }, "entry 2 does not follow"},
		"a changed hash":    {func(p [][]byte) [][]byte { p[1][0] ^= 1; return p }, "entry 2 does not follow"},
		"a removed entry":   {func(p [][]byte) [][]byte { return slices.Delete(p, 1, 2) }, "entry 3 stands where entry 2 should"},
		"a removed first":   {func(p [][]byte) [][]byte { return p[1:] }, "entry 2 stands where entry 1 should"},
		"a repeated entry":  {func(p [][]byte) [][]byte { return slices.Insert(p, 1, p[0]) }, "entry 1 stands where entry 2 should"},
		"moved entries":     {func(p [][]byte) [][]byte { p[1], p[2] = p[2], p[1]; return p }, "entry 3 stands where entry 2 should"},
		"one written anew":  {func(p [][]byte) [][]byte { p[0] = audit.Seal(audit.Entry{What: "a", Result: "200"}); return p }, "entry 2 does not follow"},
		"spaces":            {func(p [][]byte) [][]byte { p[1] = append(p[1], ' '); return p }, "entry 2"},
		"garbage":           {func(p [][]byte) [][]byte { p[1] = []byte("x"); return p }, "entry 2"},
		"an end cut off":    {func(p [][]byte) [][]byte { return p[:3] }, "no entry has the hash"},
		"all but one gone":  {func(p [][]byte) [][]byte { return p[:1] }, "no entry has the hash"},
		"another log":       {func([][]byte) [][]byte { return [][]byte{audit.Seal(audit.Entry{What: "a", Result: "200"})} }, "no entry has the hash"},
		"nothing at all":    {func([][]byte) [][]byte { return nil }, "no entry has the hash"},
		"an entry too many": {func(p [][]byte) [][]byte { return append(p, p[3]) }, "entry 4 stands where entry 5 should"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := opened(t, dir, audit.Config{})
			appended(t, l, "a", "b", "c", "d")
			known := l.Head().Hash
			require.NoError(t, l.Close())
			rewrite(t, filepath.Join(dir, audit.NameOf(1)), test.edit)
			_, err := audit.Verify(dir, known)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, status.ErrDataLoss)
			assert.ErrorContains(t, err, test.want)
		})
	}
	_, err := audit.Verify(filepath.Join(t.TempDir(), "none"), "")
	assert.ErrorIs(t, err, status.ErrNotFound)
	_, err = audit.Verify(t.TempDir(), "")
	assert.ErrorIs(t, err, status.ErrNotFound)
}

// rewrite writes a file of the log anew, with other entries and right sums.
func rewrite(t *testing.T, name string, edit func([][]byte) [][]byte) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	info, err := file.Stat()
	require.NoError(t, err)
	var payloads [][]byte
	j, err := journal.Open("gkwaud", file, info.Size(), func(*journal.Journal) error { return nil },
		func(p []byte, _ int64) error { payloads = append(payloads, bytes.Clone(p)); return nil })
	require.NoError(t, err)
	require.NoError(t, file.Close())
	file, err = os.Create(name)
	require.NoError(t, err)
	_, err = journal.Create("gkwaud", file, j.Header(), edit(payloads))
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

// Whatever anybody can cause is counted, and so takes a bounded place.
// Each kind of tampering with the files of a log of several, sums that a change leaves wrong included. anchored is what Verify
// says where the hash of the last entry is known; alone what it says without: empty where nothing can be seen.
func TestTamperingIsSeen(t *testing.T) {
	const every = "entries are missing, or were moved"
	for name, test := range map[string]struct {
		do              func(t *testing.T, dir string, files []string)
		alone, anchored string
	}{
		"nothing":                                  {func(*testing.T, string, []string) {}, "", ""},
		"bytes after the last commit":              {func(t *testing.T, _ string, f []string) { grow(t, f[3], []byte("garbage that looks like nothing")) }, "no server has written", "no server has written"},
		"a byte after the last commit":             {func(t *testing.T, _ string, f []string) { grow(t, f[3], []byte{'x'}) }, "1 bytes follow", "1 bytes follow"},
		"bytes after an earlier file":              {func(t *testing.T, _ string, f []string) { grow(t, f[1], []byte("garbage")) }, "no server has written", "no server has written"},
		"the last commit once more":                {func(t *testing.T, _ string, f []string) { grow(t, f[3], frames(t, f[3])) }, "no server has written", "no server has written"},
		"a byte changed":                           {func(t *testing.T, _ string, f []string) { flip(t, f[2], -9) }, "was acknowledged", "was acknowledged"},
		"a byte of a header changed":               {func(t *testing.T, _ string, f []string) { flip(t, f[2], 40) }, "the header is damaged", "the header is damaged"},
		"the kind of a file changed":               {func(t *testing.T, _ string, f []string) { flip(t, f[2], 0) }, "no file of the kind", "no file of the kind"},
		"an end cut off in the middle of an entry": {func(t *testing.T, _ string, f []string) { shorten(t, f[3], 5) }, "was acknowledged", "was acknowledged"},
		"an earlier file cut off":                  {func(t *testing.T, _ string, f []string) { shorten(t, f[1], 5) }, "was acknowledged", "was acknowledged"},
		"an empty file":                            {func(t *testing.T, _ string, f []string) { require.NoError(t, os.Truncate(f[2], 0)) }, "no file of the kind", "no file of the kind"},
		"a middle file gone":                       {func(t *testing.T, _ string, f []string) { require.NoError(t, os.Remove(f[1])) }, "the file before it ends with", "the file before it ends with"},
		"two files exchanged":                      {swap, "its name says", "its name says"},
		"a file under another number": {func(t *testing.T, dir string, f []string) {
			require.NoError(t, os.Rename(f[3], filepath.Join(dir, audit.NameOf(9))))
		}, "its name says", "its name says"},
		"a file twice":          {func(t *testing.T, dir string, f []string) { copyFile(t, f[1], filepath.Join(dir, audit.NameOf(9))) }, "its name says", "its name says"},
		"a file of another log": {func(t *testing.T, dir string, f []string) { copyFile(t, another(t, dir), f[0]) }, "the file before it ends with", "the file before it ends with"},
		"a directory in the place of a file": {func(t *testing.T, _ string, f []string) {
			require.NoError(t, os.Remove(f[1]))
			require.NoError(t, os.Mkdir(f[1], 0o700))
		}, "is no file", "is no file"},
		"an entry changed, and its sum": {func(t *testing.T, _ string, f []string) {
			rewrite(t, f[1], func(p [][]byte) [][]byte { return [][]byte{bytes.Replace(p[0], []byte("acme"), []byte("evil"), 1)} })
		}, "entry 2 does not follow", "entry 2 does not follow"},
		"an entry added to an earlier file": {func(t *testing.T, _ string, f []string) {
			rewrite(t, f[1], func(p [][]byte) [][]byte { return append(p, p[0]) })
		}, every, every},
		"an earlier file without its entry": {func(t *testing.T, _ string, f []string) { rewrite(t, f[1], func([][]byte) [][]byte { return nil }) }, "the file before it ends with", "the file before it ends with"},
		"a first entry with one before it":  {func(t *testing.T, dir string, f []string) { recast(t, f, audit.Header(1, strings.Repeat("ab", 32))) }, "names an entry before the first", "names an entry before the first"},
		// What no chain can see by itself.
		"the last file gone":                {func(t *testing.T, _ string, f []string) { require.NoError(t, os.Remove(f[3])) }, "", "no entry has the hash"},
		"the last entry gone, and its mark": {func(t *testing.T, _ string, f []string) { rewrite(t, f[3], func([][]byte) [][]byte { return nil }) }, "", "no entry has the hash"},
		"all but the first file gone":       {func(t *testing.T, _ string, f []string) { removeAll(t, f[1:]) }, "", "no entry has the hash"},
		"all written anew": {func(t *testing.T, dir string, f []string) {
			file := another(t, dir)
			removeAll(t, f)
			copyFile(t, file, f[0])
		}, "", "no entry has the hash"},
		"zeros after the last commit (a crash?)": {func(t *testing.T, _ string, f []string) { grow(t, f[3], make([]byte, 100)) }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "audit")
			l := opened(t, dir, audit.Config{MaxFileBytes: 1})
			appended(t, l, "a", "b", "c", "d")
			known := l.Head().Hash
			require.NoError(t, l.Close())
			files, err := filepath.Glob(filepath.Join(dir, "audit-*.log"))
			require.NoError(t, err)
			require.Len(t, files, 4)
			test.do(t, dir, files)
			for hash, want := range map[string]string{"": test.alone, known: test.anchored} {
				report, err := audit.Verify(dir, hash)
				if want == "" {
					require.NoError(t, err, "with the hash %q", hash)
					continue
				}
				require.Error(t, err, "with the hash %q: %+v", hash, report)
				require.ErrorIs(t, err, status.ErrDataLoss)
				assert.ErrorContains(t, err, want)
			}
		})
	}
	t.Run("the oldest files gone", func(t *testing.T) { // which an operator may have moved
		dir := t.TempDir()
		l := opened(t, dir, audit.Config{MaxFileBytes: 1})
		appended(t, l, "a", "b", "c")
		require.NoError(t, l.Close())
		require.NoError(t, os.Remove(filepath.Join(dir, audit.NameOf(1))))
		report, err := audit.Verify(dir, "")
		require.NoError(t, err)
		assert.EqualValues(t, 1, report.Unexplained)
	})
}

func grow(t *testing.T, file string, more []byte) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.Write(more)
	require.NoError(t, errors.Join(err, f.Close()))
}

func shorten(t *testing.T, file string, n int64) {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(file, info.Size()-n))
}

func flip(t *testing.T, file string, at int) {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	if at < 0 {
		at += len(raw)
	}
	raw[at] ^= 1
	require.NoError(t, os.WriteFile(file, raw, 0o600))
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, raw, 0o600))
}

func swap(t *testing.T, dir string, files []string) {
	t.Helper()
	other := filepath.Join(dir, "other")
	require.NoError(t, os.Rename(files[1], other))
	require.NoError(t, os.Rename(files[2], files[1]))
	require.NoError(t, os.Rename(other, files[2]))
}

func removeAll(t *testing.T, files []string) {
	t.Helper()
	for _, file := range files {
		require.NoError(t, os.Remove(file))
	}
}

// another returns the first file of another log.
func another(t *testing.T, dir string) string {
	t.Helper()
	other := dir + "-other"
	l := opened(t, other, audit.Config{MaxFileBytes: 1})
	appended(t, l, "other")
	require.NoError(t, l.Close())
	return filepath.Join(other, audit.NameOf(1))
}

// frames returns what stands in a file after its header and marks.
func frames(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	at := bytes.Index(raw, []byte{0xc1, 0x57, 0x9e, 0x6b})
	require.Positive(t, at)
	return raw[at:]
}

// recast gives a log of one file another header, whose entries follow from it.
func recast(t *testing.T, files []string, header []byte) {
	t.Helper()
	removeAll(t, files)
	f, err := os.OpenFile(files[0], os.O_CREATE|os.O_RDWR, 0o600)
	require.NoError(t, err)
	j, err := journal.Create("gkwaud", f, header, nil)
	require.NoError(t, err)
	require.NoError(t, j.Close())
}

// The server's log has the end of the audit log when it begins and ends, for whoever keeps it.
func TestTheEndIsTold(t *testing.T) {
	var text bytes.Buffer
	dir := t.TempDir()
	c := audit.Config{Logger: slog.New(slog.NewTextHandler(&text, nil))}
	l := opened(t, dir, c)
	made := appended(t, l, "a", "b")
	require.NoError(t, l.Close())
	assert.Contains(t, text.String(), "seq=0 hash="+strings.Repeat("0", 64))
	assert.Contains(t, text.String(), "seq=2 hash="+made[1].Hash)
	text.Reset()
	l = opened(t, dir, c)
	require.NoError(t, l.Close())
	assert.Equal(t, 1, strings.Count(text.String(), "hash="+made[1].Hash), "an end that was told is not told again")
	grow(t, filepath.Join(dir, audit.NameOf(1)), []byte("garbage"))
	l = opened(t, dir, c)
	require.NoError(t, l.Close())
	assert.Contains(t, text.String(), "no server has written")
}

func TestCountedEntriesAreBounded(t *testing.T) {
	dir := t.TempDir()
	l := opened(t, dir, audit.Config{})
	for i := range 10_000 {
		l.Count(audit.Entry{What: "signIn", From: fmt.Sprintf("10.%d.%d.%d", i/65536, i/256%256, i%256), Result: "401 UNAUTHENTICATED"})
		l.Count(audit.Entry{What: "signIn", From: fmt.Sprintf("2001:db8::%x", i+1), Result: "401 UNAUTHENTICATED"})
	}
	require.NoError(t, l.Close())
	l = opened(t, dir, audit.Config{})
	entries := all(t, l, audit.Query{})
	assert.LessOrEqual(t, len(entries), 65)
	sum, networks := 0, 0
	for _, e := range entries {
		sum += e.Count
		if e.From == "2001:db8::/64" {
			networks++
			assert.Equal(t, 10_000, e.Count)
		}
	}
	assert.Equal(t, 20_000, sum)
	assert.Equal(t, 1, networks)
}

func TestEntriesAreWrittenTogether(t *testing.T) {
	dir := t.TempDir()
	l := opened(t, dir, audit.Config{MaxFileBytes: 2000})
	const writers, each = 16, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				e, err := l.Append(audit.Entry{Who: fmt.Sprint(w), What: "x", Result: "200"})
				if assert.NoError(t, err) {
					assert.GreaterOrEqual(t, l.Head().Seq, e.Seq, "it is on the disk")
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			_, _, err := l.List(audit.Query{})
			assert.NoError(t, err)
			_, err = audit.Verify(dir, "")
			assert.NoError(t, err)
		}
	})
	wg.Wait()
	assert.Len(t, all(t, l, audit.Query{}), writers*each)
}

// No secret of an API key gets into the log, whichever member somebody writes it into.
func TestSecretsOfKeysAreTakenOut(t *testing.T) {
	const secret = "zyxwvutsrqponmlkjihgfedcba765432zyxwvutsrqponmlkjihg"
	key := "gwk_abcdefghijklmnop_" + secret
	e := audit.Bounded(audit.Entry{Who: key, From: key, What: key, On: "/v1/keys/" + key + "/x", Result: key, Request: key})
	assert.NotContains(t, fmt.Sprintf("%+v", e), secret[:8])
	assert.Equal(t, "/v1/keys/gwk_abcdefghijklmnop_…/x", e.On)
	long := audit.Bounded(audit.Entry{Who: strings.Repeat("ä\n", 9999), On: strings.Repeat("\x1b[2J\u202e", 9999)})
	assert.Less(t, len(audit.Seal(long)), 4<<10)
	assert.NotContains(t, long.On, "\u202e")
}

func TestADamagedLogIsNotWritten(t *testing.T) {
	dir := t.TempDir()
	l := opened(t, dir, audit.Config{})
	appended(t, l, "a", "b")
	require.NoError(t, l.Close())
	rewrite(t, filepath.Join(dir, audit.NameOf(1)), func(p [][]byte) [][]byte { return p[1:] })
	_, err := audit.Open(dir, audit.Config{})
	assert.ErrorIs(t, err, status.ErrDataLoss)
}

// logStep appends an entry; the model has the name of the last one for each number.
func logStep(what string) faultfs.Step[*audit.Log] {
	return faultfs.Step[*audit.Log]{
		Name: "append " + what,
		Do: func(l *audit.Log) error {
			_, err := l.Append(audit.Entry{Who: "w", What: what, Result: "200"})
			return err
		},
		Model: func(state map[string]string) { state[fmt.Sprint(len(state)+1)] = what },
	}
}

func logCase() faultfs.Case[*audit.Log] {
	return faultfs.Case[*audit.Log]{
		Open: func(files storedir.FS) (*audit.Log, error) {
			return audit.OpenFS(files, audit.Config{MaxFileBytes: 300})
		},
		Close: func(l *audit.Log) error { return l.Close() },
		Steps: []faultfs.Step[*audit.Log]{logStep("a"), logStep("b"), logStep("c"), logStep("d"), logStep("e")},
		State: func(l *audit.Log) map[string]string {
			state := map[string]string{}
			for seq := uint64(1); seq <= l.Head().Seq; seq++ {
				page, _, err := l.List(audit.Query{Before: seq + 1, Limit: 1})
				switch {
				case err != nil:
					state[fmt.Sprint(seq)] = faultfs.Failed(err)
				case len(page) == 1 && page[0].Seq == seq:
					state[fmt.Sprint(seq)] = page[0].What
				}
			}
			return state
		},
		Uncertain: true,
	}
}

// A file that is gone, or another one, takes no entries: they would be acknowledged, and found by nobody.
func TestAFileThatWasTakenAwayIsNotWritten(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"removed": os.Remove,
		"renamed": func(path string) error { return os.Rename(path, path+".old") },
		"cut":     func(path string) error { return os.Truncate(path, 0) },
		"replaced": func(path string) error {
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return errors.Join(os.Remove(path), os.WriteFile(path, raw, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := opened(t, dir, audit.Config{})
			appended(t, l, "createTenant")
			files, err := filepath.Glob(filepath.Join(dir, "audit-*.log"))
			require.NoError(t, err)
			require.Len(t, files, 1)
			require.NoError(t, harm(files[0]))
			for range 2 {
				_, err = l.Append(audit.Entry{What: "deleteTenant"})
				require.ErrorIs(t, err, status.ErrUnavailable)
			}
		})
	}
}

func TestNoFaultOfTheDiskLosesAnEntry(t *testing.T) { faultfs.Exhaust(t, logCase()) }

func TestDamageIsTold(t *testing.T) {
	c := logCase()
	c.Stride = 5
	faultfs.Flips(t, c)
}

// FuzzDecode holds the decoder to reading only what is written, byte for byte.
func FuzzDecode(f *testing.F) {
	f.Add(audit.Seal(audit.Entry{Who: "a", What: "b", Result: "200", On: "/x", From: "::1", Request: "r", Of: 3, Count: 2}))
	f.Add(audit.Seal(audit.Entry{}))
	f.Add([]byte(strings.Repeat("\x00", 32) + `{"seq":1}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		e, err := audit.Decode(payload)
		if err != nil {
			if !errors.Is(err, status.ErrDataLoss) {
				t.Fatal(err)
			}
			return
		}
		if e.Seq == 1 {
			if again := audit.Seal(e); !bytes.Equal(again[32:], payload[32:]) {
				t.Fatalf("read %q, written %q", payload[32:], again[32:])
			}
		}
	})
}
