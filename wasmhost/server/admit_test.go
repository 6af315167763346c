package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// upload puts a module of the tool f into service, with its policy's limits.
func (w *world) upload(name string, wasm []byte, limits string) {
	w.t.Helper()
	body, kind := form(w.t, "module", string(wasm), "descriptor", `{"abi":"genkit/1","name":"`+name+`","tools":[{"name":"f"}]}`, "policy", `{"limits":`+limits+`}`)
	r := w.do(http.MethodPut, tenant+"/modules/"+name, body, kind)
	require.Equal(w.t, http.StatusCreated, r.status, r.body)
}

// asleep is a guest whose f sleeps for an hour.
func asleep() []byte {
	hour := make([]byte, 48) // a subscription to clock 0; the timeout is at 24
	copy(hour[24:], []byte{0, 0xa0, 0xb8, 0x30, 0x46, 0x03, 0, 0})
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("iiii", "i")),
		w.Imports(w.ImportFunc("wasi_snapshot_preview1", "poll_oneoff", 1)),
		w.Funcs(0), w.Memories(w.Limits(1)), w.Exports(w.Export("f", 0, 1), w.Export("memory", 2, 0)),
		w.Code(w.Body("", 0x41, 0, 0x41, 0xc0, 0, 0x41, 1, 0x41, 0xe0, 0, 0x10, 0)),
		w.Data(w.Cat([]byte{0, 0x41, 0, 0x0b}, w.U32(48), hour)))
}

// flooding is a guest whose f emits 60 KiB for ever.
func flooding() []byte {
	chunk := `"` + strings.Repeat("x", 60_000) + `"`
	length := w.Cat([]byte{0x41}, w.U32(uint32(len(chunk))))
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("ii", "i")),
		w.Imports(w.ImportFunc("genkit_v1", "emit", 1)),
		w.Funcs(0), w.Memories(w.Limits(1)), w.Exports(w.Export("f", 0, 1), w.Export("memory", 2, 0)),
		w.Code(w.Body("", w.Cat([]byte{0x03, 0x40, 0x41, 0}, length, []byte{0x10, 0, 0x1a, 0x0c, 0, 0x0b, 0x00})...)),
		w.Data(w.Cat([]byte{0, 0x41, 0, 0x0b}, w.U32(uint32(len(chunk))), []byte(chunk))))
}

// usage waits until the tenant's use is as wanted.
func (w *world) usage(want func(wasmhost.Usage) bool) {
	w.t.Helper()
	var u wasmhost.Usage
	require.Eventually(w.t, func() bool {
		var err error
		u, err = w.host.Usage("default")
		return err == nil && want(u)
	}, 20*time.Second, time.Millisecond, "%+v", &u)
}

// open sends the head of a request and as much of its body as is given, and returns the
// connection.
func (w *world) open(path, head, body string) net.Conn {
	w.t.Helper()
	conn, err := new(net.Dialer).DialContext(w.t.Context(), "tcp", w.Listener.Addr().String())
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "POST %s%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\n\r\n%s", tenant, path, head, body)
	require.NoError(w.t, err)
	return conn
}

// answer reads one response's status and body.
func answer(t *testing.T, conn net.Conn) (int, string) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(raw)
}

const bigBody = "Content-Length: 250000"

// A call that is refused, or has to wait, is neither read nor decoded before.
func TestACallIsAdmittedBeforeItIsRead(t *testing.T) {
	world := newWorldOf(t, wasmhost.Config{Quota: tenants.Quota{Concurrency: 1, Queue: 1, Waiting: 1}}, nil)
	world.upload("sleeper", asleep(), `{"timeoutMs":5000}`)
	world.open("/tools/sleeper/f", "Content-Length: 2", "{}")
	world.usage(func(u wasmhost.Usage) bool { return u.Suspended == 1 })
	queued := world.open("/tools/sleeper/f", bigBody, "")
	world.usage(func(u wasmhost.Usage) bool { return u.Waiting == 1 })
	code, text := answer(t, world.open("/tools/sleeper/f", bigBody, ""))
	assert.Equal(t, http.StatusTooManyRequests, code, text)
	assert.Contains(t, text, "RESOURCE_EXHAUSTED")
	code, _ = answer(t, world.open("/tools/native/pretty", "Content-Length: 2", "{}"))
	assert.Equal(t, http.StatusOK, code, "what is no guest waits for no slot of guests")
	require.NoError(t, queued.Close())
}

// A call whose body is slow in arriving holds no slot meanwhile.
func TestASlowBodyHoldsNoSlot(t *testing.T) {
	world := newWorldOf(t, wasmhost.Config{Slots: 1, Quota: tenants.Quota{Concurrency: 1}}, nil)
	require.Equal(t, http.StatusCreated, world.put("calc", calc(t)).status)
	slow := world.open("/tools/calc/add", bigBody, `{"input":`)
	world.usage(func(u wasmhost.Usage) bool { return u.Suspended == 1 })
	assert.JSONEq(t, `{"result":{"sum":3}}`, world.post("/tools/calc/add", `{"input":{"a":1,"b":2}}`).body)
	rest := `{"a":2,"b":2}}`
	_, err := fmt.Fprint(slow, rest, strings.Repeat(" ", 250_000-len(`{"input":`)-len(rest)))
	require.NoError(t, err)
	code, text := answer(t, slow)
	assert.Equal(t, http.StatusOK, code)
	assert.JSONEq(t, `{"result":{"sum":4}}`, text)
	world.usage(func(u wasmhost.Usage) bool { return u.Suspended == 0 && u.Running == 0 })
}

// The memory of bodies being read is bounded by tenant, whether or not they declare
// their length.
func TestBytesUnderWayAreBounded(t *testing.T) {
	world := newWorldOf(t, wasmhost.Config{Quota: tenants.Quota{RequestBytes: 300_000}}, nil)
	require.Equal(t, http.StatusCreated, world.put("calc", calc(t)).status)
	for _, path := range []string{"/tools/calc/add", "/generate", "/flows/menu/suggest"} {
		first := world.open(path, bigBody, "{")
		world.usage(func(u wasmhost.Usage) bool { return u.RequestBytes == 250_000 })
		code, text := answer(t, world.open(path, "Content-Length: 100000", ""))
		assert.Equal(t, http.StatusTooManyRequests, code, text)
		chunked := world.open(path, "Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n", 40_000, strings.Repeat(" ", 40_000)))
		code, text = answer(t, chunked)
		assert.NotEqual(t, http.StatusOK, code, text)
		assert.NotEqual(t, http.StatusRequestTimeout, code, text)
		require.NoError(t, first.Close())
		world.usage(func(u wasmhost.Usage) bool { return u.RequestBytes == 0 })
	}
	small := world.do(http.MethodPost, "/v1/tenants/acme/generate", strings.NewReader(`{"x":1}`), jsonType)
	assert.Equal(t, http.StatusOK, small.status, small.body)
}

// Whatever a request runs, and with however little a body, so many are under way at most.
func TestRequestsUnderWayAreBoundedInNumber(t *testing.T) {
	world := newWorldOf(t, wasmhost.Config{Quota: tenants.Quota{RequestBytes: 20_000}}, nil)
	for _, body := range []string{"", "{}"} {
		first := world.open("/tools/native/silent", fmt.Sprintf("Content-Length: %d", len(body)), body)
		second := world.open("/flows/waits", fmt.Sprintf("Content-Length: %d", len(body)), body)
		world.usage(func(u wasmhost.Usage) bool { return u.RequestBytes == 16<<10 })
		third := world.post("/tools/native/pretty", `{}`)
		assert.Equal(t, http.StatusTooManyRequests, third.status, third.body)
		require.NoError(t, first.Close())
		require.NoError(t, second.Close())
		world.usage(func(u wasmhost.Usage) bool { return u.RequestBytes == 0 })
		world.waiting = make(chan struct{})
	}
	assert.Equal(t, http.StatusOK, world.post("/tools/native/pretty", `{}`).status)
}

func TestGenerateCallsAreBounded(t *testing.T) {
	world := newWorldOf(t, wasmhost.Config{Quota: tenants.Quota{Generates: 1}}, nil)
	first := world.open("/generate", "Content-Length: 9\r\nExpect: 100-continue", "")
	asked := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	_, err := io.ReadFull(first, asked) // the server has counted the call, and wants its body
	require.NoError(t, err)
	require.Contains(t, string(asked), "100 Continue")
	assert.Equal(t, http.StatusTooManyRequests, world.post("/generate", `{"x":1}`).status)
	_, err = first.Write([]byte(`{"y":123}`))
	require.NoError(t, err)
	code, _ := answer(t, first)
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, http.StatusOK, world.post("/generate", `{"x":1}`).status)
}

// A reader who does not read holds a guest that emits no longer than the guest's own time,
// although the connection would be given more.
func TestAStalledReaderHoldsAGuestNoLongerThanItsTime(t *testing.T) {
	world := newWorld(t, func(c *server.Config) { c.WriteTimeout = 10 * time.Minute })
	world.upload("flood", flooding(), `{"timeoutMs":700}`)
	world.open("/tools/flood/f?stream=true", "Content-Length: 2", "{}")
	world.usage(func(u wasmhost.Usage) bool { return u.Suspended == 1 })
	world.usage(func(u wasmhost.Usage) bool { return u.Suspended+u.Running == 0 && u.Total.Calls == 1 })
}

// A body's length is written once: what follows a request with both ways of writing it is
// not read as another one.
func TestARequestOfTwoLengthsEndsItsConnection(t *testing.T) {
	world := newWorld(t, nil)
	conn := world.open("/generate", "Content-Length: 3\r\nTransfer-Encoding: chunked", "0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	raw, err := io.ReadAll(conn)
	require.NoError(t, err, "the connection ends")
	assert.Equal(t, 1, strings.Count(string(raw), "HTTP/1.1 "), "%s", raw)
	assert.Contains(t, string(raw), "Connection: close")
}

// When the server cancels what runs, because it closes, every face says the same.
func TestWhatAClosingServerCancelsIsUnavailable(t *testing.T) {
	host := newWorldOf(t, wasmhost.Config{Quota: tenants.Quota{Concurrency: 1, Waiting: 1}}, nil)
	host.upload("sleeper", asleep(), `{"timeoutMs":5000}`)
	running, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	srv := httptest.NewUnstartedServer(host.api.Handler())
	srv.Config.BaseContext = func(net.Listener) context.Context { return running }
	srv.Start()
	defer srv.Close()
	closing := &world{Server: srv, t: t}
	var wg sync.WaitGroup
	check := func(path, header string, want ...string) {
		wg.Go(func() {
			r := closing.post(path, "{}", header)
			for _, s := range want {
				assert.Contains(t, fmt.Sprint(r.status, r.body), s, path)
			}
			assert.NotContains(t, r.body, "CANCELLED", path)
		})
	}
	check("/tools/sleeper/f", jsonType, "503", `"UNAVAILABLE"`)
	host.usage(func(u wasmhost.Usage) bool { return u.Suspended == 1 })
	check("/tools/sleeper/f", jsonType, "503", `"UNAVAILABLE"`) // in the queue
	host.usage(func(u wasmhost.Usage) bool { return u.Waiting == 1 })
	check("/tools/native/silent", jsonType, "503", `"UNAVAILABLE"`)
	check("/flows/waits", jsonType, "503", `"UNAVAILABLE"`)
	<-host.waiting
	stream := bufio.NewReader(closing.open("/tools/native/slow?stream=true", "Content-Length: 2\r\nConnection: close", "{}"))
	for line := ""; !strings.Contains(line, `{"message":"started"}`); {
		var err error
		line, err = stream.ReadString('\n')
		require.NoError(t, err)
	}
	cancel(status.Publicf(status.Unavailable, "the server is shutting down").WithRetryAfter(time.Second))
	rest, err := io.ReadAll(stream)
	require.NoError(t, err)
	assert.Contains(t, string(rest), `"status":"UNAVAILABLE"`)
	wg.Wait()
}
