package usage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/faultfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage/usagetest"
)

func TestADirectoryHasQueues(t *testing.T) {
	usagetest.Queue(t, func(t *testing.T, maxBytes int64) usagetest.Waiting {
		t.Helper()
		files, err := storedir.Open(t.TempDir(), "test")
		require.NoError(t, err)
		open := func() usage.Queue {
			q, err := usage.OpenSpool(files, "queue", maxBytes)
			require.NoError(t, err)
			return q
		}
		q := open()
		t.Cleanup(func() { assert.NoError(t, errors.Join(closeQueue(q), files.Close())) })
		return usagetest.Waiting{Queue: q, Reopen: func() usage.Queue {
			require.NoError(t, closeQueue(q))
			q = open()
			return q
		}}
	})
}

func closeQueue(q usage.Queue) error {
	if c, ok := q.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func TestMemoryHasQueues(t *testing.T) {
	usagetest.Queue(t, func(_ *testing.T, maxBytes int64) usagetest.Waiting {
		return usagetest.Waiting{Queue: usage.MemoryQueue(maxBytes)}
	})
}

// faultRun are the numbers of the events that a queue has acknowledged, and of those that were delivered.
type faultRun struct{ put, done map[int]bool }

func idsOf(t *testing.T, events []json.RawMessage) (ids []int) {
	t.Helper()
	for _, e := range events {
		var n int
		_, err := fmt.Sscanf(string(e), `{"id":%d,`, &n)
		require.NoError(t, err, "%s", e)
		ids = append(ids, n)
	}
	return ids
}

const faultEvents = 12

// workQueue puts events and takes some, as a book does: what is not taken comes again.
func workQueue(t *testing.T, q usage.Queue) faultRun {
	t.Helper()
	r := faultRun{map[int]bool{}, map[int]bool{}}
	var held []json.RawMessage
	for i := range faultEvents {
		held = append(held, json.RawMessage(fmt.Sprintf(`{"id":%d,"x":%q}`, i, strings.Repeat("x", 100))))
		if q.Put(t.Context(), held) == nil {
			for _, id := range idsOf(t, held) {
				r.put[id] = true
			}
			held = nil
		}
		if i%4 == 3 {
			events, err := q.Next(t.Context())
			if err != nil {
				continue // it is read again
			}
			for _, id := range idsOf(t, events) {
				r.done[id] = true
			}
			_ = q.Done(t.Context()) // where it fails they may come again
		}
	}
	return r
}

// A process that is killed at any operation on the disk, or whose disk fails once or for good, leaves a queue that
// the next one opens: each event that was acknowledged and not done comes, none is half, and the order holds. After a
// power cut the last ones may be gone, and what is left is whole.
func TestNoFaultOfTheDiskBreaksAQueue(t *testing.T) {
	open := func(disk *faultfs.Disk) (usage.Queue, error) { return usage.OpenSpool(disk.FS(), "queue", 4<<20) }
	disk := faultfs.New(1)
	q, err := open(disk)
	require.NoError(t, err)
	workQueue(t, q)
	total := disk.Ops()
	require.Greater(t, total, 20)
	runs, lost := 0, 0
	for at := 1; at <= total; at++ {
		for _, f := range []faultfs.Fault{{Err: faultfs.ErrCrashed}, {Err: faultfs.ErrCrashed, After: true}, {Err: syscall.EIO}, {Err: syscall.EIO, After: true}, {Err: syscall.ENOSPC, Sticky: true}} {
			for _, left := range []faultfs.Left{faultfs.Everything, faultfs.Nothing, 7} {
				f.At = at
				runs++
				what := fmt.Sprintf("operation %d of %d, %+v, left %d", at, total, f, left)
				disk := faultfs.New(uint64(at)) //nolint:gosec // small
				disk.Inject(f)
				r := faultRun{}
				if q, err := open(disk); err == nil {
					r = workQueue(t, q)
				}
				q, err := open(disk.Cut(left))
				require.NoError(t, err, what)
				var came []int
				for {
					events, err := q.Next(t.Context())
					require.NoError(t, err, what)
					if len(events) == 0 {
						break
					}
					came = append(came, idsOf(t, events)...)
					require.NoError(t, q.Done(t.Context()), what)
				}
				there := map[int]bool{}
				for _, id := range came {
					there[id] = true
				}
				for id := range r.put {
					if r.done[id] || there[id] {
						continue
					}
					lost++
					require.NotEqual(t, faultfs.Everything, left, "%s: event %d was acknowledged, and is gone", what, id)
				}
				require.NoError(t, q.Put(t.Context(), []json.RawMessage{json.RawMessage(`{"id":99,"x":""}`)}), what)
				events, err := q.Next(t.Context())
				require.NoError(t, err, what)
				require.Equal(t, []int{99}, idsOf(t, events), what)
				require.NoError(t, closeQueue(q))
			}
		}
	}
	t.Logf("%d runs; %d events were lost with the power", runs, lost)
	assert.Positive(t, lost, "a power cut takes what was not synced, or nothing was cut")
}

// A part that can't be read for a moment is not given up, and one that never can be does not hold up the others for ever.
func TestAPartThatCantBeReadIsTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		fails int
		comes []int
	}{"for a moment": {5, []int{0, 1}}, "for good": {100, []int{1}}} {
		t.Run(name, func(t *testing.T) {
			disk := faultfs.New(1)
			q, err := usage.OpenSpool(disk.FS(), "queue", 4<<20)
			require.NoError(t, err)
			require.NoError(t, q.Put(t.Context(), []json.RawMessage{json.RawMessage(`{"id":0,"x":""}`)}))
			for range c.fails {
				disk.Inject(faultfs.Fault{At: disk.Ops() + 1, Err: syscall.EIO})
				if _, err = q.Next(t.Context()); err == nil {
					break
				}
			}
			disk.Inject(faultfs.Fault{})
			require.NoError(t, q.Put(t.Context(), []json.RawMessage{json.RawMessage(`{"id":1,"x":""}`)}))
			events, err := q.Next(t.Context())
			require.NoError(t, err)
			assert.Equal(t, c.comes, idsOf(t, events))
			assert.EqualValues(t, 2-len(c.comes), q.Stats().Dropped)
		})
	}
}

// flaky is a queue of an embedder that fails, or panics, while it is told to.
type flaky struct {
	usage.Queue
	mu     sync.Mutex // guards the fields below
	down   error
	closed bool
}

func (f *flaky) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

var errPanic = errors.New("panic")

func (f *flaky) state() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if errors.Is(f.down, errPanic) {
		panic(f.down)
	}
	return f.down
}

func (f *flaky) Put(ctx context.Context, events []json.RawMessage) error {
	if err := f.state(); err != nil {
		return err
	}
	return f.Queue.Put(ctx, events)
}

func (f *flaky) Next(ctx context.Context) ([]json.RawMessage, error) {
	if err := f.state(); err != nil {
		return nil, err
	}
	return f.Queue.Next(ctx)
}

func (f *flaky) Done(ctx context.Context) error {
	if err := f.state(); err != nil {
		return err
	}
	return f.Queue.Done(ctx)
}

func (f *flaky) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

// Events wait for a queue that takes none, and no call waits for it.
func TestAQueueThatFailsLosesNothing(t *testing.T) {
	r := newReceiver(t)
	queues := map[string]*flaky{}
	b := open(t, usage.Config{
		Sinks: []usage.Target{r.sink(t)},
		Queues: func(name string, maxBytes int64) (usage.Queue, error) {
			queues[name] = &flaky{Queue: usage.MemoryQueue(maxBytes)}
			return queues[name], nil
		},
	})
	usage.Impatient(b)
	var q *flaky
	for name, one := range queues {
		if strings.HasPrefix(name, "queue-") {
			q = one
		}
	}
	total := 0
	for _, err := range []error{errors.New("no route"), errPanic} {
		q.fail(err)
		countTools(b, total, total+5)
		total += 5
		eventually(t, func() bool { return b.Sinks()[0].Queued == 5 }, "events wait in memory")
		q.fail(nil)
		eventually(t, func() bool { return len(r.names()) == total && b.Sinks()[0].Queued == 0 }, "and are delivered")
	}
	require.NoError(t, b.Close())
	for name, one := range queues {
		assert.True(t, one.closed, name)
	}
	_, err := usage.Open(usage.Config{Sinks: []usage.Target{r.sink(t)}, Queues: func(string, int64) (usage.Queue, error) { return nil, errors.New("no queue") }})
	require.ErrorContains(t, err, "no queue")
}
