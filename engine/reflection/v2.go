package reflection

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Codes of JSON-RPC 2.0, and the one that Genkit takes for a run that failed.
const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeNoMethod       = -32601
	codeInvalidParams  = -32602
	codeFailed         = -32000
)

// message is a JSON-RPC message of either direction.
type message struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  any             `json:"result,omitempty"`
	Error   *rpcError       `json:"error,omitempty"`
}

// incoming is a message whose params have not been read.
type incoming struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  *string         `json:"method"`
	Params  json.RawMessage `json:"params"`
	Result  json.RawMessage `json:"result"`
	Error   *rpcError       `json:"error"`
}

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

// client keeps a connection to the tools, again and again.
type client struct {
	s    *Server
	http *http.Client
	stop context.CancelFunc
	done chan struct{}
}

// startV2 dials the tools in the background.
func (s *Server) startV2(context.Context) error {
	u, err := url.Parse(s.config.V2)
	if err != nil || (u.Scheme != "ws" && u.Scheme != "wss") || u.Host == "" {
		return invalid("%s: want a URL such as ws://localhost:3200", envV2)
	}
	s.url = s.config.V2
	s.id = s.runtimeID(0)
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // the client's life, which Close ends
	c := &client{s: s, http: &http.Client{Transport: &http.Transport{Proxy: nil}}, stop: cancel, done: make(chan struct{})}
	go c.run(ctx)
	s.stop = func(context.Context) error {
		c.stop()
		<-c.done
		return nil
	}
	return nil
}

// Delays between attempts to connect, as Genkit has them.
const (
	firstDelay = 500 * time.Millisecond
	lastDelay  = 5 * time.Second
)

// backOff returns the delay before the attempt that follows n failed ones.
func backOff(n int) time.Duration {
	return min(firstDelay<<min(n, 10), lastDelay)
}

func (c *client) run(ctx context.Context) {
	defer close(c.done)
	defer c.http.CloseIdleConnections()
	failed := 0
	for {
		connected, err := c.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if connected {
			failed = 0
		}
		delay := backOff(failed)
		c.s.log.Debug("not connected to genkit's tools", slog.Any("error", err), slog.Duration("again_in", delay))
		failed++
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// dialPatience bounds one attempt.
const dialPatience = 10 * time.Second

// connect keeps one connection until it ends.
func (c *client) connect(ctx context.Context) (connected bool, err error) {
	dial, cancel := context.WithTimeout(ctx, dialPatience)
	ws, _, err := websocket.Dial(dial, c.s.config.V2, &websocket.DialOptions{HTTPClient: c.http}) //nolint:bodyclose // the library says not to
	cancel()
	if err != nil {
		return false, err
	}
	ws.SetReadLimit(c.s.config.MaxBody)
	ctx, end := context.WithCancel(ctx)
	conn := &connection{s: c.s, ws: ws, ctx: ctx, inputs: map[string]*inputs{}}
	defer conn.wait()
	defer func() { _ = ws.CloseNow() }()
	defer end()
	return true, conn.serve()
}

// connection is one connection to the tools.
type connection struct {
	s     *Server
	ws    *websocket.Conn
	ctx   context.Context //nolint:containedctx // the connection's own: a run's end must not end it in the middle of a message
	quick sync.WaitGroup  // requests that are answered at once

	mu     sync.Mutex // guards the fields below
	inputs map[string]*inputs
	gone   bool
}

// registerID is the id of our one request.
const registerID = `"1"`

func (c *connection) serve() error {
	defer c.lose()
	name := c.s.name
	if name == "" {
		name = c.s.id
	}
	c.send(message{ID: json.RawMessage(registerID), Method: "register", Params: map[string]any{
		"id": c.s.id, "pid": os.Getpid(), "name": name, "genkitVersion": runtimeVersion,
		"reflectionApiSpecVersion": SpecVersion, "envs": []string{"dev"},
	}})
	for {
		kind, raw, err := c.ws.Read(c.ctx)
		if err != nil {
			return err
		}
		if kind == websocket.MessageText {
			c.receive(raw)
		}
	}
}

// lose ends what waits for the tools. Runs go on: who asked for them has gone, and what
// they did may be looked at in their traces.
func (c *connection) lose() {
	c.mu.Lock()
	c.gone = true
	streams := c.inputs
	c.inputs = map[string]*inputs{}
	c.mu.Unlock()
	for _, in := range streams {
		in.fail(status.Publicf(status.Unavailable, "the connection to genkit's tools was lost"))
	}
}

func (c *connection) wait() { c.quick.Wait() }

// send writes a message. A connection that has gone takes nothing more; its reader
// notices.
func (c *connection) send(m message) {
	m.Version = "2.0"
	raw, err := rawjson.Encode(m)
	if err != nil {
		c.s.log.Warn("a message to genkit's tools can't be encoded", slog.Any("error", err))
		return
	}
	_ = c.ws.Write(c.ctx, websocket.MessageText, raw)
}

func (c *connection) result(id json.RawMessage, v any) { c.send(message{ID: id, Result: v}) }

func (c *connection) failed(id json.RawMessage, code int, text string, data any) {
	c.send(message{ID: id, Error: &rpcError{Code: code, Message: text, Data: data}})
}

// method is one of the methods that the tools call. Those that are notifications have
// no answer.
type method struct {
	name   string
	notice bool
	serve  func(id json.RawMessage, params json.RawMessage)
}

func (c *connection) methods() []method {
	return []method{
		{"listActions", false, c.listActions},
		{"listValues", false, c.listValues},
		{"runAction", false, c.runAction},
		{"cancelAction", false, c.cancelAction},
		{"configure", true, c.configure},
		{"sendInputStreamChunk", true, c.inputChunk},
		{"endInputStream", true, c.inputEnd},
	}
}

// receive answers one message. It does not wait for a run.
func (c *connection) receive(raw []byte) {
	var m incoming
	if err := json.Unmarshal(raw, &m); err != nil {
		c.failed(json.RawMessage("null"), codeParse, "parse error: "+unreadable(err), nil)
		return
	}
	if m.Method == nil {
		c.answered(m)
		return
	}
	asks := !absent(m.ID)
	if asks && m.ID[0] != '"' && (m.ID[0] == '{' || m.ID[0] == '[' || m.ID[0] == 't' || m.ID[0] == 'f') {
		c.failed(json.RawMessage("null"), codeInvalidRequest, "id: want a string or a number", nil)
		return
	}
	for _, known := range c.methods() {
		if known.name == *m.Method {
			if known.notice || asks {
				known.serve(m.ID, m.Params)
			}
			return
		}
	}
	if asks {
		c.failed(m.ID, codeNoMethod, "Method not found: "+*m.Method, nil)
	}
}

// answered takes the answer to register.
func (c *connection) answered(m incoming) {
	if string(m.ID) != registerID {
		return
	}
	if m.Error != nil {
		c.s.log.Warn("genkit's tools refused this runtime", slog.Int("code", m.Error.Code), slog.String("error", m.Error.Message))
		return
	}
	c.configure(nil, m.Result)
}

func (c *connection) listActions(id, _ json.RawMessage) {
	c.quick.Go(func() {
		all, err := c.s.describe(c.ctx)
		if err != nil {
			f := failureOf(err, "")
			c.failed(id, codeFailed, f.Message, f)
			return
		}
		c.result(id, map[string]any{"actions": all})
	})
}

func (c *connection) listValues(id, params json.RawMessage) {
	var q struct {
		Type string `json:"type"`
	}
	if !c.params(id, params, &q) {
		return
	}
	all, err := values(c.s.app.Registry(), q.Type)
	switch {
	case errors.Is(err, status.ErrInvalidArgument):
		c.failed(id, codeInvalidParams, status.Convert(err).Message, nil)
	case err != nil:
		f := failureOf(err, "")
		c.failed(id, codeFailed, f.Message, f)
	default:
		c.result(id, map[string]any{"values": all})
	}
}

func (c *connection) cancelAction(id, params json.RawMessage) {
	var q struct {
		TraceID string `json:"traceId"`
	}
	if !c.params(id, params, &q) {
		return
	}
	if !c.s.runs.cancel(q.TraceID) {
		c.failed(id, codeInvalidParams, "Action not found or already completed", nil)
		return
	}
	c.result(id, map[string]string{"message": "Action cancelled"})
}

func (c *connection) configure(_, params json.RawMessage) {
	var q struct {
		TelemetryServerURL string `json:"telemetryServerUrl"`
	}
	if json.Unmarshal(params, &q) == nil {
		c.s.setTelemetry(q.TelemetryServerURL)
	}
}

// params decodes the params of a request; it answers itself where that fails.
func (c *connection) params(id, params json.RawMessage, v any) bool {
	if len(params) == 0 {
		params = json.RawMessage("{}")
	}
	if err := json.Unmarshal(params, v); err != nil {
		c.failed(id, codeInvalidParams, "params: "+unreadable(err), nil)
		return false
	}
	return true
}

// runParams are the parameters of runAction beside the request's.
type runParams struct {
	Stream      bool `json:"stream"`
	StreamInput bool `json:"streamInput"`
}

func (c *connection) runAction(id, params json.RawMessage) {
	var q request
	var how runParams
	if !c.params(id, params, &q) || !c.params(id, params, &how) {
		return
	}
	if err := q.check(); err != nil {
		c.failed(id, codeInvalidParams, status.Convert(err).Message, nil)
		return
	}
	if err := c.s.runs.enter(); err != nil {
		f := failureOf(err, "")
		c.failed(id, codeFailed, f.Message, f)
		return
	}
	name := requestName(id)
	var in *inputs
	if how.StreamInput { // before anything else is read: the first input may follow at once
		in = newInputs(int(c.s.config.MaxBody))
		c.mu.Lock()
		c.inputs[name] = in
		c.mu.Unlock()
	}
	go func() { // runs.wait waits for it
		defer c.s.runs.leave()
		defer c.forget(name, in)
		c.runOne(id, name, &q, how, in)
	}()
}

func (c *connection) runOne(id json.RawMessage, name string, q *request, how runParams, in *inputs) {
	// A run outlives its connection, and ends with the server.
	ctx := context.WithoutCancel(c.ctx)
	a, err := resolve(ctx, c.s.app.Registry(), q.Key)
	if errors.Is(err, status.ErrNotFound) {
		c.failed(id, codeInvalidParams, "action "+q.Key+" not found", nil)
		return
	}
	if err != nil {
		f := failureOf(err, "")
		c.failed(id, codeFailed, f.Message, f)
		return
	}
	var next action.NextInput
	if in != nil {
		if _, ok := a.(action.Bidi); !ok {
			c.failed(id, codeInvalidParams, "action "+q.Key+" takes no stream of inputs", nil)
			return
		}
		next = in.next
	}
	started := func(traceID, _ string) {
		c.notify("runActionState", map[string]any{"requestId": name, "state": map[string]string{"traceId": traceID}})
	}
	var emit action.Emit
	if how.Stream {
		emit = func(chunk json.RawMessage) error {
			c.notify("streamChunk", map[string]any{"requestId": name, "chunk": json.RawMessage(compact(chunk))})
			return nil
		}
	}
	o := c.s.runs.run(ctx, a, q, next, started, emit)
	if o.err != nil {
		f := failureOf(o.err, o.traceID)
		c.failed(id, codeFailed, f.Message, f)
		return
	}
	c.result(id, answerOf(o))
}

func (c *connection) notify(method string, params any) {
	c.send(message{Method: method, Params: params})
}

// requestName is how notifications name a request: by its id, as a string.
func requestName(id json.RawMessage) string {
	var text string
	if json.Unmarshal(id, &text) == nil {
		return text
	}
	return strings.TrimSpace(string(id))
}

// forget removes a run's inputs. The tools count anew when they start anew, so only
// the run's own are.
func (c *connection) forget(name string, in *inputs) {
	if in == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inputs[name] == in {
		delete(c.inputs, name)
	}
}

func (c *connection) inputChunk(_, params json.RawMessage) {
	var q struct {
		RequestID string          `json:"requestId"`
		Chunk     json.RawMessage `json:"chunk"`
	}
	if json.Unmarshal(params, &q) != nil {
		return
	}
	if in := c.input(q.RequestID); in != nil {
		in.push(q.Chunk)
		return
	}
	c.s.log.Debug("an input for a run that does not wait for one", slog.String("request", q.RequestID))
}

func (c *connection) inputEnd(_, params json.RawMessage) {
	var q struct {
		RequestID string `json:"requestId"`
	}
	if json.Unmarshal(params, &q) != nil {
		return
	}
	if in := c.input(q.RequestID); in != nil {
		in.fail(nil)
	}
}

func (c *connection) input(name string) *inputs {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inputs[name]
}
