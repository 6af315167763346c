package reflection_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/reflection"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

// manager imitates Genkit's tools: runtimes dial it.
type manager struct {
	t     *testing.T
	url   string
	conns chan *websocket.Conn
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{t: t, conns: make(chan *websocket.Conn, 8)}
	end := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		ws.SetReadLimit(1 << 20)
		m.conns <- ws
		<-end
		_ = ws.CloseNow()
	}))
	t.Cleanup(func() { close(end); srv.Close() })
	m.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	return m
}

// peer is one connection, seen from the tools' side.
type peer struct {
	t   *testing.T
	ws  *websocket.Conn
	ctx context.Context
}

func (m *manager) next() *peer {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	m.t.Cleanup(cancel)
	select {
	case ws := <-m.conns:
		return &peer{t: m.t, ws: ws, ctx: ctx}
	case <-ctx.Done():
		m.t.Fatal("nobody dials")
		return nil
	}
}

func (p *peer) say(line string) {
	p.t.Helper()
	require.NoError(p.t, p.ws.Write(p.ctx, websocket.MessageText, []byte(line)))
}

func (p *peer) hear() string {
	p.t.Helper()
	_, raw, err := p.ws.Read(p.ctx)
	require.NoError(p.t, err)
	return string(raw)
}

func (p *peer) hearJSON(v any) {
	p.t.Helper()
	raw := p.hear()
	require.NoError(p.t, json.Unmarshal([]byte(raw), v), raw)
}

// connected starts version 2 and answers its register.
func connected(t *testing.T, a *app, c reflection.Config) (*manager, *peer, *reflection.Server) {
	t.Helper()
	m := newManager(t)
	c.V2 = m.url
	s := start(t, a, c)
	p := m.next()
	assert.Contains(t, p.hear(), `"method":"register"`)
	p.say(`{"jsonrpc":"2.0","id":"1","result":{}}`)
	return m, p, s
}

var traceInMessage = regexp.MustCompile(`"traceId":"([0-9a-f]{32})"`)

// Each file of testdata/v2 is a conversation: "<" is what the tools say, ">" what the
// runtime answers, "*" what it answers in any order among its neighbours. <trace> is
// the last trace that was heard of. The first line says what it pins.
func TestRecordedWebSocketExchanges(t *testing.T) {
	files, err := filepath.Glob("testdata/v2/*.txtar")
	require.NoError(t, err)
	covered := map[string]bool{}
	method := regexp.MustCompile(`"method":"([A-Za-z]+)"`)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			require.NoError(t, err)
			require.Len(t, ar.Files, 1, file)
			for _, m := range method.FindAllStringSubmatch(string(ar.Files[0].Data), -1) {
				covered[m[1]] = true
			}
			m := newManager(t)
			start(t, newApp(t), reflection.Config{V2: m.url, MaxBody: 64 << 10})
			got := converse(m.next(), string(ar.Files[0].Data))
			if *update {
				ar.Files[0].Data = []byte(got)
				require.NoError(t, os.WriteFile(file, txtar.Format(ar), 0o600))
			}
			assert.Equal(t, string(ar.Files[0].Data), got)
		})
	}
	for _, name := range reflection.Methods() {
		assert.True(t, covered[name], "no exchange is recorded for %s", name)
	}
}

// converse plays the tools' part and returns the conversation as it went.
func converse(p *peer, script string) string {
	p.t.Helper()
	var out strings.Builder
	var unordered []string
	trace := ""
	settle := func() {
		slices.Sort(unordered)
		for _, line := range unordered {
			out.WriteString("* " + line + "\n")
		}
		unordered = nil
	}
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "<") {
			settle()
			out.WriteString(line + "\n")
			p.say(strings.ReplaceAll(line[2:], "<trace>", trace))
			continue
		}
		raw := p.hear()
		if m := traceInMessage.FindStringSubmatch(raw); m != nil {
			trace = m[1]
		}
		if strings.HasPrefix(line, "*") {
			unordered = append(unordered, normal(raw))
			continue
		}
		settle()
		out.WriteString("> " + normal(raw) + "\n")
	}
	settle()
	return out.String()
}

func TestSeveralRunsShareAConnection(t *testing.T) {
	_, p, _ := connected(t, newApp(t), reflection.Config{})
	const runs = 20
	for i := range runs {
		id, err := json.Marshal(map[string]any{
			"jsonrpc": "2.0", "id": string(rune('a' + i)), "method": "runAction",
			"params": map[string]any{"key": "/flow/count", "input": 5, "stream": true},
		})
		require.NoError(t, err)
		p.say(string(id))
	}
	chunks, done := map[string]int{}, 0
	for done < runs {
		var m struct {
			ID     string
			Method string
			Params struct {
				RequestID string `json:"requestId"`
				Chunk     struct{ N int }
			}
			Result struct{ Result string }
		}
		p.hearJSON(&m)
		switch {
		case m.Method == "streamChunk":
			chunks[m.Params.RequestID]++
			assert.Equal(t, chunks[m.Params.RequestID], m.Params.Chunk.N, "each run's chunks come in order")
		case m.ID != "":
			done++
			assert.Equal(t, "done", m.Result.Result)
			assert.Equal(t, 5, chunks[m.ID], "the answer comes after the chunks")
		}
	}
}

func TestALostConnectionIsDialledAgain(t *testing.T) {
	m, p, _ := connected(t, newApp(t), reflection.Config{})
	p.say(`{"jsonrpc":"2.0","id":"7","method":"runAction","params":{"key":"/flow/wait"}}`)
	var state struct {
		Params struct {
			State struct {
				TraceID string `json:"traceId"`
			} `json:"state"`
		} `json:"params"`
	}
	p.hearJSON(&state)
	require.NoError(t, p.ws.CloseNow())

	p = m.next()
	assert.Contains(t, p.hear(), `"method":"register"`, "it registers anew")
	p.say(`{"jsonrpc":"2.0","id":"1","result":{}}`)
	p.say(`{"jsonrpc":"2.0","id":"8","method":"cancelAction","params":{"traceId":"` + state.Params.State.TraceID + `"}}`)
	assert.Contains(t, p.hear(), "Action cancelled", "the run went on, and can be cancelled by its trace")
}

func TestALostConnectionEndsTheStreamOfInputs(t *testing.T) {
	m, p, _ := connected(t, newApp(t), reflection.Config{})
	p.say(`{"jsonrpc":"2.0","id":"7","method":"runAction","params":{"key":"/custom/talk","stream":true,"streamInput":true}}`)
	p.say(`{"jsonrpc":"2.0","method":"sendInputStreamChunk","params":{"requestId":"7","chunk":1}}`)
	assert.Contains(t, p.hear(), `"runActionState"`)
	assert.Contains(t, p.hear(), `"heard":1`)
	require.NoError(t, p.ws.CloseNow())
	p = m.next()
	p.hear()
	// The run has ended: Close, at the test's end, does not have to cancel it.
	p.say(`{"jsonrpc":"2.0","id":"9","method":"listValues","params":{"type":"middleware"}}`)
	assert.Contains(t, p.hear(), `"again"`)
}

func TestAnInputStreamIsBounded(t *testing.T) {
	_, p, _ := connected(t, newApp(t), reflection.Config{MaxBody: 1000})
	p.say(`{"jsonrpc":"2.0","id":"7","method":"runAction","params":{"key":"/flow/echo","streamInput":true}}`)
	assert.Contains(t, p.hear(), `"code":-32602`, "echo takes no stream")
	p.say(`{"jsonrpc":"2.0","id":"8","method":"runAction","params":{"key":"/custom/talk","streamInput":true}}`)
	assert.Contains(t, p.hear(), `"runActionState"`)
	for range 5000 {
		p.say(`{"jsonrpc":"2.0","method":"sendInputStreamChunk","params":{"requestId":"8","chunk":"` + strings.Repeat("x", 800) + `"}}`)
	}
	p.say(`{"jsonrpc":"2.0","method":"endInputStream","params":{"requestId":"8"}}`)
	got := p.hear() // a fast reader may have taken them all
	assert.True(t, strings.Contains(got, "RESOURCE_EXHAUSTED") || strings.Contains(got, `"inputs":[`), "%.200s", got)
}

func TestDelaysGrowToABound(t *testing.T) {
	var got []time.Duration
	for n := range 6 {
		got = append(got, reflection.BackOff(n))
	}
	assert.Equal(t, []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second}, got)
	assert.Equal(t, 5*time.Second, reflection.BackOff(1_000_000))
}

func TestVersion2IsDialledUntilItIsThere(t *testing.T) {
	s := start(t, newApp(t), reflection.Config{V2: "ws://127.0.0.1:1"})
	assert.NoError(t, s.Close(t.Context()), "it ends while it waits")
	for _, url := range []string{"http://localhost:3200", "ws://", "3200"} {
		_, err := reflection.Start(t.Context(), newApp(t), reflection.Config{V2: url, Always: true, Getenv: getenv(nil)})
		assert.ErrorIs(t, err, status.ErrInvalidArgument, url)
	}
}

func TestTheToolsTellWhereTheTelemetryServerIs(t *testing.T) {
	srv := telemetrytest.NewServer(t)
	m := newManager(t)
	s := start(t, newApp(t), reflection.Config{V2: m.url})
	p := m.next()
	p.hear()
	p.say(`{"jsonrpc":"2.0","id":"1","result":{"telemetryServerUrl":"` + srv.URL + `"}}`)
	p.say(`{"jsonrpc":"2.0","method":"configure","params":{"telemetryServerUrl":"http://attacker.example:4033"}}`)
	p.say(`{"jsonrpc":"2.0","id":"2","method":"runAction","params":{"key":"/flow/echo","input":"x","telemetryLabels":{"batch":"7"}}}`)
	p.hear()
	p.hear()
	assert.Equal(t, srv.URL, s.Exporter().URL(), "another machine is refused")
	require.Len(t, srv.TraceIDs(), 1, "the trace is there before the answer")
	attrs, _ := srv.Spans(srv.TraceIDs()[0])["echo"]["attributes"].(map[string]any)
	assert.Equal(t, "7", attrs["batch"])
	assert.Equal(t, "{}", attrs["genkit:metadata:context"])
}

func TestServersInOneProcess(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := reflection.Start(t.Context(), newApp(t), reflection.Config{Port: -1, Root: t.TempDir(), Always: true, Getenv: getenv(nil)})
			assert.NoError(t, err)
			assert.NoError(t, s.Close(context.Background()))
		})
	}
	wg.Wait()
}
