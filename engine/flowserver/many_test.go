package flowserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
)

// pipes is a listener whose connections are in memory, so that their number is not that
// of the files which a process may open.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- timeless{server}
	return client
}

// timeless is a pipe without deadlines in the future, whose timers a pipe that is
// closed keeps until they fire.
type timeless struct{ net.Conn }

func (c timeless) SetReadDeadline(t time.Time) error {
	if t.After(time.Now()) {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

func (c timeless) SetWriteDeadline(t time.Time) error {
	if t.After(time.Now()) {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

func TestTenThousandStreamsLeaveNothingBehind(t *testing.T) {
	if testing.Short() {
		t.Skip("it opens thousands of streams")
	}
	kept := durable.NewMemory(durable.MemoryConfig{TTL: time.Millisecond})
	t.Cleanup(kept.Close)
	for name, config := range map[string]flowserver.Config{"plain": {}, "kept": {Streams: kept}} {
		t.Run(name, func(t *testing.T) {
			var release atomic.Pointer[chan struct{}]
			a, err := action.New(action.Desc{Kind: action.Flow, Name: "waits"}, func(_ context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
				err := emit(json.RawMessage(`"started"`))
				<-*release.Load()
				return json.RawMessage(`"over"`), err
			})
			require.NoError(t, err)
			srv, err := flowserver.New(config)
			require.NoError(t, err)
			l := newPipes()
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				ended <- srv.Run(ctx, flowserver.RunConfig{Listener: l}, srv.Handler(flowserver.Flow{Action: a}))
			}()
			round := func() {
				end := make(chan struct{})
				release.Store(&end)
				conns := make([]net.Conn, streams)
				readers := make([]*bufio.Reader, streams)
				for i := range conns {
					conns[i] = l.dial()
					_, err := io.WriteString(conns[i], "POST / HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Length: 0\r\n\r\n")
					require.NoError(t, err)
					readers[i] = bufio.NewReaderSize(conns[i], 16)
					resp, err := http.ReadResponse(readers[i], nil)
					require.NoError(t, err)
					line := make([]byte, len("data: {\"message\":\"started\"}\n\n"))
					_, err = io.ReadFull(resp.Body, line)
					require.NoError(t, err)
					require.Equal(t, "data: {\"message\":\"started\"}\n\n", string(line))
				}
				assert.Greater(t, runtime.NumGoroutine(), streams, "all are open")
				close(end)
				for i, c := range conns {
					got := make([]byte, 8)
					_, err := io.ReadFull(readers[i], got) // something of what follows
					require.NoError(t, err)
					require.NoError(t, c.Close())
				}
				require.Eventually(t, func() bool { return runtime.NumGoroutine() < 100 }, patience, time.Millisecond, "goroutines")
			}
			round()
			before := heap()
			round()
			after := heap()
			t.Logf("heap after the first %d streams: %d KiB, after as many again: %d KiB", streams, before>>10, after>>10)
			assert.Less(t, after, before+2<<20, "200 bytes a stream would be growth")
			stop()
			require.NoError(t, receive(t, ended))
		})
	}
}

// heap is the memory in use after garbage collection.
func heap() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
