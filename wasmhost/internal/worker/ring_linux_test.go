package worker

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// ends makes both ends of a ring, and a link over the near one with a call that waits; two are
// counted, so that neither looks for frames itself. The link's reader sleeps.
func ends(t *testing.T) (near, far *ringTransport, l *link, in *inbox) {
	near, files, err := newRing()
	require.NoError(t, err)
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i], err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	far, err = mapRing(fds[0], fds[1], fds[2], false)
	require.NoError(t, err)
	require.NoError(t, unix.Close(fds[0]))
	t.Cleanup(far.close)
	require.NoError(t, near.afterStart()) // Fd has made the bells blocking

	l = newLink(context.Background(), near)
	l.active.Store(2)
	in = &inbox{slot: 1, gen: 1}
	l.inboxes[1].Store(in)
	ended := make(chan struct{})
	go func() { l.run(); close(ended) }()
	t.Cleanup(func() { l.fail(nil); <-ended })
	require.Eventually(t, func() bool { return far.out.waiting.Load() == 1 }, 10*time.Second, time.Millisecond, "the reader sleeps")
	return near, far, l, in
}

var abc = header{kind: kindResult, slot: 1, gen: 1, size: 3, total: 3}

// A frame for which nobody was woken reaches its call all the same: the watch has both sides look, and
// while a worker starts, which the watch doesn't know yet, so does its start.
func TestAFrameIsFoundThoughNobodyWasWoken(t *testing.T) {
	for name, nudge := range map[string]func(ctx context.Context, w *process){
		"watch": func(_ context.Context, w *process) { (&Pool{workers: map[*process]struct{}{w: {}}}).look(time.Now()) },
		"start": func(ctx context.Context, w *process) { w.nudge(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			_, far, l, in := ends(t)
			far.out.waiting.Store(0)
			ok, err := far.out.write(&abc, []byte("abc"))
			require.True(t, ok)
			require.NoError(t, err)
			require.False(t, far.out.mustWake())
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			go nudge(ctx, &process{link: l})
			m, err := l.await(ctx, in)
			require.NoError(t, err)
			assert.Equal(t, "abc", string(m.body))
		})
	}
}

// Who is woken for a frame while another still holds the reader's side sleeps again. The other
// one has to look for the frame, after it has given that side back.
func TestAFrameThatComesWhileAReaderLeavesIsFound(t *testing.T) {
	near, far, l, in := ends(t)
	require.Eventually(t, near.rx.TryLock, 10*time.Second, time.Millisecond)
	var once sync.Once
	near.leaving = func() {
		once.Do(func() {
			assert.NoError(t, far.send(&abc, []byte("abc")))
			assert.Eventually(t, func() bool { return !rings(t, near) }, 10*time.Second, time.Millisecond)
			time.Sleep(20 * time.Millisecond) // for the one that was woken: it finds the side taken
		})
	}
	near.rx.Unlock()
	near.spin(l.handle, func() bool { return true })
	require.Eventually(t, func() bool { return in.queued.Load() == 1 }, 10*time.Second, time.Millisecond)
}

// rings reports whether nobody has heard the bell yet.
func rings(t *testing.T, r *ringTransport) bool {
	raw, err := r.bell.SyscallConn()
	require.NoError(t, err)
	var set [1]unix.PollFd
	require.NoError(t, raw.Control(func(fd uintptr) { set[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN} }))
	n, err := unix.Poll(set[:], 0)
	return err != nil || n > 0
}
