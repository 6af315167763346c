package worker

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A frame for which nobody was woken reaches its call all the same.
func TestAFrameIsFoundThoughNobodyWasWoken(t *testing.T) {
	near, files, err := newRing()
	require.NoError(t, err)
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i], err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	far, err := mapRing(fds[0], fds[1], fds[2], false)
	require.NoError(t, err)
	require.NoError(t, unix.Close(fds[0]))
	defer far.close()
	require.NoError(t, unix.SetNonblock(int(near.bell.Fd()), true)) // Fd has made it blocking

	l := newLink(context.Background(), near)
	l.active.Store(2) // two calls: neither looks for frames itself
	in := &inbox{slot: 1, gen: 1}
	l.inboxes[1].Store(in)
	ended := make(chan struct{})
	go func() { l.run(); close(ended) }()
	defer func() { l.fail(nil); <-ended }()

	require.Eventually(t, func() bool { return far.out.waiting.Load() == 1 }, 10*time.Second, time.Millisecond, "the reader sleeps")
	far.out.waiting.Store(0)
	ok, err := far.out.write(&header{kind: kindResult, slot: 1, gen: 1, size: 3, total: 3}, []byte("abc"))
	require.True(t, ok)
	require.NoError(t, err)
	require.False(t, far.out.mustWake())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m, err := l.await(ctx, in)
	require.NoError(t, err)
	assert.Equal(t, "abc", string(m.body))
}
