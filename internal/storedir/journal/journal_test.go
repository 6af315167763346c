package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/journal"
)

// memory is a file in memory that can fail.
type memory struct {
	b                   []byte
	room                int // bytes that WriteAt still takes; -1 for any number
	failSync, failTrunc bool
}

func (m *memory) ReadAt(p []byte, at int64) (int, error) {
	if at >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

var errFull = errors.New("the disk is full")

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if m.room >= 0 && len(p) > m.room {
		p = p[:m.room]
	}
	if need := int(at) + len(p); need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	copy(m.b[at:], p)
	if m.room >= 0 {
		m.room -= len(p)
		return len(p), errFull
	}
	return len(p), nil
}

func (m *memory) Truncate(size int64) error {
	if m.failTrunc {
		return errFull
	}
	m.b = m.b[:size]
	return nil
}

func (m *memory) Sync() error {
	if m.failSync {
		return errFull
	}
	return nil
}
func (m *memory) Close() error { return nil }

func accept(*journal.Journal) error { return nil }

// read opens a copy of b and returns the payloads.
func read(b []byte) (payloads []string, j *journal.Journal, m *memory, err error) {
	m = &memory{b: bytes.Clone(b), room: -1}
	j, err = journal.Open(kind, m, int64(len(b)), accept, func(p []byte, at int64) error {
		if string(b[at:at+int64(len(p))]) != string(p) {
			return errors.New("the place of a payload is wrong")
		}
		payloads = append(payloads, string(p))
		return nil
	})
	return payloads, j, m, err
}

const kind = "gkwvec"

// acks is how many bytes the acks take, which are the end of the head.
const acks = 24

// filled returns a file of three commits and where each ends; the second has two frames.
func filled(t *testing.T) (b []byte, ends []int64) {
	t.Helper()
	b, ends, _ = grown(t)
	return b, ends
}

// grown returns besides how the file began after each commit, its acks included.
func grown(t *testing.T) (b []byte, ends []int64, heads [][]byte) {
	t.Helper()
	m := &memory{room: -1}
	j, err := journal.Create(kind, m, []byte(`{"a":1}`), nil)
	require.NoError(t, err)
	ends, heads = append(ends, j.Size()), append(heads, bytes.Clone(m.b))
	for _, commit := range [][][]byte{{[]byte("one")}, {[]byte("two"), []byte("three")}, {nil}} {
		_, err := j.Commit(commit)
		require.NoError(t, err)
		ends, heads = append(ends, j.Size()), append(heads, bytes.Clone(m.b[:ends[0]]))
	}
	return m.b, ends, heads
}

// unacked is a file as it was before the ack of a commit after the first n reached the disk.
func unacked(b []byte, heads [][]byte, n int) []byte {
	return append(bytes.Clone(heads[n]), b[len(heads[n]):]...)
}

func TestCommitsAreReadAgain(t *testing.T) {
	b, _ := filled(t)
	payloads, j, m, err := read(b)
	require.NoError(t, err)
	assert.Equal(t, []string{"one", "two", "three", ""}, payloads)
	assert.Equal(t, `{"a":1}`, string(j.Header()))
	assert.Zero(t, j.Cut)
	places, err := j.Commit([][]byte{[]byte("four")})
	require.NoError(t, err)
	got := make([]byte, 4)
	require.NoError(t, j.ReadAt(got, places[0]))
	assert.Equal(t, "four", string(got))
	require.ErrorIs(t, j.ReadAt(got, j.Size()), status.ErrUnavailable)
	payloads, _, _, err = read(m.b)
	require.NoError(t, err)
	assert.Len(t, payloads, 5)
}

// TestWhateverACrashLeavesIsCut cuts the file at every byte, and puts garbage or
// zeros where the rest was.
func TestWhateverACrashLeavesIsCut(t *testing.T) {
	b, ends, heads := grown(t)
	want := [][]string{nil, {"one"}, {"one", "two", "three"}, {"one", "two", "three", ""}}
	foreign := 0
	for cut := range len(b) + 1 {
		for _, tail := range []string{"", strings.Repeat("\x00", 100), strings.Repeat("\xc1\x57\x9e\x6b", 20)} {
			torn := append(bytes.Clone(b[:cut]), tail...)
			cut := cut // checksums are random: what comes after may happen to be what was there
			for cut < min(len(b), len(torn)) && torn[cut] == b[cut] {
				cut++
			}
			if int64(cut) < ends[0] {
				// No crash leaves this: the file got its name when its head was synced.
				if _, _, _, err := read(torn); int64(cut) < ends[0]-acks || tail == "" {
					require.ErrorIs(t, err, status.ErrDataLoss)
				}
				continue
			}
			n := len(slices.DeleteFunc(slices.Clone(ends), func(e int64) bool { return e > int64(cut) })) - 1
			if n < 3 { // once its ack is there, no crash takes a commit away
				_, _, _, err := read(torn)
				require.ErrorIs(t, err, status.ErrDataLoss, "%d", cut)
			}
			payloads, j, m, err := read(unacked(torn, heads, n))
			require.NoError(t, err, "%d", cut)
			require.Equal(t, want[n], payloads, "%d", cut)
			require.Equal(t, ends[n], j.Size())
			require.Equal(t, ends[n], int64(len(m.b)), "the rest is cut off")
			require.Equal(t, int64(len(torn))-ends[n], j.Cut)
			if tail == "" || tail[0] == 0 {
				require.False(t, j.Foreign, "%d: a crash leaves it", cut)
			}
			if j.Foreign {
				foreign++
			}
		}
	}
	assert.Positive(t, foreign, "what no crash leaves is told")
}

// TestDamageIsNoCrash flips every bit. Damage to acknowledged commits is refused; damage in
// the last commit can't be told from a crash only while the commit's ack is not on the
// disk.
func TestDamageIsNoCrash(t *testing.T) {
	b, ends, heads := grown(t)
	for i := range b {
		for bit := range 8 {
			flipped := bytes.Clone(b)
			flipped[i] ^= 1 << bit
			payloads, _, _, err := read(flipped)
			if at := int64(i); at >= ends[0]-acks && at < ends[0] {
				require.NoError(t, err, "an ack proves something and disproves nothing")
				require.Len(t, payloads, 4)
				continue
			}
			require.ErrorIs(t, err, status.ErrDataLoss, "byte %d", i)
			if int64(i) >= ends[2] {
				payloads, _, _, err = read(unacked(flipped, heads, 2))
				require.NoError(t, err)
				require.Equal(t, []string{"one", "two", "three"}, payloads)
			}
		}
	}
	for size := ends[0]; size < ends[3]; size++ {
		_, _, _, err := read(b[:size])
		require.ErrorIs(t, err, status.ErrDataLoss, "cut to %d bytes", size)
	}
}

// TestAFileWithoutAcksIsRead reads a file that version 1 has written, and appends to
// it.
func TestAFileWithoutAcksIsRead(t *testing.T) {
	b, err := os.ReadFile("testdata/v1.journal")
	require.NoError(t, err)
	payloads, j, m, err := read(b)
	require.NoError(t, err)
	assert.Equal(t, []string{"one", "two", "three", ""}, payloads)
	_, err = j.Commit([][]byte{[]byte("four")})
	require.NoError(t, err)
	payloads, _, _, err = read(m.b)
	require.NoError(t, err)
	assert.Equal(t, []string{"one", "two", "three", "", "four"}, payloads)
	for i := range len(b) - 30 { // up to the last commit
		flipped := bytes.Clone(m.b)
		flipped[i] ^= 4
		_, _, _, err := read(flipped)
		require.ErrorIs(t, err, status.ErrDataLoss, "byte %d", i)
	}
}

// TestAPayloadCanNotForgeAFrame puts frames of later commits of the same file, which
// somebody may have seen, into a payload and tears the commit: they are no proof that
// something is lost.
func TestAPayloadCanNotForgeAFrame(t *testing.T) {
	b, ends := filled(t)
	_, j, seen, err := read(b)
	require.NoError(t, err)
	for range 4 {
		_, err = j.Commit([][]byte{[]byte("later")})
		require.NoError(t, err)
	}
	_, j, m, err := read(b)
	require.NoError(t, err)
	_, err = j.Commit([][]byte{[]byte("x"), seen.b[ends[0]:], []byte("x")})
	require.NoError(t, err)
	copy(m.b, b[:ends[0]]) // neither its ack
	m.b[ends[3]] ^= 1      // nor the first of its frames reached the disk
	payloads, again, _, err := read(m.b)
	require.NoError(t, err, "what looks like a frame is none at another place")
	assert.Len(t, payloads, 4)
	assert.Equal(t, ends[3], again.Size())
}

func TestFailedWritesLeaveNothing(t *testing.T) {
	b, ends := filled(t)
	for room := range 40 {
		_, j, m, err := read(b)
		require.NoError(t, err)
		m.room = room
		_, err = j.Commit([][]byte{[]byte("more"), []byte("and more")})
		require.ErrorIs(t, err, errFull)
		require.ErrorIs(t, err, status.ErrUnavailable)
		assert.Equal(t, b, m.b)
		m.room = -1
		_, err = j.Commit([][]byte{[]byte("again")})
		require.NoError(t, err)
		payloads, _, _, err := read(m.b)
		require.NoError(t, err)
		assert.Equal(t, "again", payloads[4])
	}
	_, j, m, err := read(b)
	require.NoError(t, err)
	m.room, m.failTrunc = 3, true
	_, err = j.Commit([][]byte{[]byte("more")})
	require.Error(t, err)
	m.room = -1
	_, err = j.Commit([][]byte{[]byte("more")})
	require.ErrorIs(t, err, status.ErrUnavailable, "what failed is still there")
	payloads, _, _, err := read(m.b)
	require.NoError(t, err)
	assert.Len(t, payloads, 4)
	m.failTrunc = false
	_, err = j.Commit([][]byte{[]byte("later")})
	require.NoError(t, err)
	payloads, _, _, err = read(m.b)
	require.NoError(t, err)
	assert.Equal(t, "later", payloads[4])

	_, j, m, err = read(b)
	require.NoError(t, err)
	m.failSync = true
	_, err = j.Commit([][]byte{[]byte("more")})
	require.ErrorIs(t, err, status.ErrUnavailable)
	_, err = j.Commit([][]byte{[]byte("more")})
	require.ErrorIs(t, err, status.ErrUnavailable)
	assert.Equal(t, ends[3], j.Size())
	m.failSync = false
	_, err = j.Commit([][]byte{[]byte("later")})
	require.NoError(t, err)
	payloads, _, _, err = read(m.b)
	require.NoError(t, err)
	assert.Equal(t, "later", payloads[4], "a sync that failed is not tried again: what it was for is cut off")
}

func TestBounds(t *testing.T) {
	_, err := journal.Create(kind, &memory{room: -1}, make([]byte, journal.MaxHeader+1), nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = journal.Create(kind, &memory{room: 10}, nil, nil)
	require.ErrorIs(t, err, errFull)
	b, _ := filled(t)
	_, j, m, err := read(b)
	require.NoError(t, err)
	_, err = j.Commit([][]byte{nil, make([]byte, journal.MaxPayload+1)})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Equal(t, b, m.b)
	// A length that the file does not have is not believed.
	huge := bytes.Clone(b)
	huge = append(huge, "\xc1\x57\x9e\x6b\x04\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\x00...."...)
	_, again, _, err := read(huge)
	require.NoError(t, err)
	assert.EqualValues(t, 21, again.Cut)
	refuse := errors.New("no")
	_, err = journal.Open(kind, m, int64(len(m.b)), accept, func([]byte, int64) error { return refuse })
	require.ErrorIs(t, err, refuse)
	_, err = journal.Open(kind, m, int64(len(m.b)), func(j *journal.Journal) error {
		assert.Equal(t, `{"a":1}`, string(j.Header()))
		return refuse
	}, nil)
	require.ErrorIs(t, err, refuse)
}

func FuzzOpen(f *testing.F) {
	m := &memory{room: -1}
	j, err := journal.Create(kind, m, []byte("{}"), [][]byte{[]byte("a"), []byte("b")})
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		if _, err := j.Commit([][]byte{fmt.Append(nil, i)}); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(m.b)
	f.Add(m.b[:len(m.b)-3])
	f.Add([]byte("gkwvec\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		payloads, j, m, err := read(b)
		if err != nil {
			require.ErrorIs(t, err, status.ErrDataLoss)
			return
		}
		again, k, _, err := read(m.b)
		require.NoError(t, err)
		require.Equal(t, payloads, again)
		require.Zero(t, k.Cut)
		require.Equal(t, j.Size(), k.Size())
	})
}
