package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/mcp"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

var docMCP = operation{
	id: "mcp", tag: "actions", summary: "Speak the Model Context Protocol",
	text: "One message of the streamable HTTP transport, of revisions up to 2026-07-28, without sessions: a client sees the tenant's tools, prompts and resources. " +
		"A tool that fails is an answer with isError; other failures are errors of JSON-RPC, and those of the request itself problems. " +
		"The answer is a stream where the request's Accept header contains text/event-stream.",
	request: jsonOf("Object"),
	responses: map[int]answerDoc{
		http.StatusOK:       {text: "The answer, and before it what the tool emits, where the caller wants progress.", content: map[string]any{"application/json": ref("Object"), eventStream: map[string]any{"type": "string"}}, headers: rateHeaders},
		http.StatusAccepted: {text: "The message was a notification."},
	},
	failures: runFailures,
}

// mcp answers one message of an MCP client. What it runs is admitted, counted and bounded as the routes of tools are.
func (s *Server) mcp(c echo.Context) error {
	tenantName := param(c, "tenant")
	reg, err := s.config.Registry(tenantName)
	if err != nil {
		return err
	}
	r := c.Request()
	version := r.Header.Get("Mcp-Protocol-Version")
	if len(version) > 32 {
		return status.Publicf(status.InvalidArgument, "header Mcp-Protocol-Version: want a revision of MCP, such as 2025-11-25")
	}
	body, err := s.readJSON(c)
	if err != nil {
		return err
	}
	if body = bytes.TrimSpace(body); len(body) == 0 || body[0] != '{' {
		return status.Publicf(status.InvalidArgument, "body: want one JSON-RPC message, a JSON object")
	}
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	face := mcp.New(mcp.Config{
		Registry: reg,
		Run: func(ctx context.Context, a action.Action, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			return s.runFor(ctx, c, a, in, emit)
		},
		Context: func(ctx context.Context, given json.RawMessage) (context.Context, error) {
			return withCallersContext(ctx, c, given)
		},
		List:    func(ctx context.Context) (func(), error) { return s.config.Host.BeginList(ctx, tenantName) },
		Listen:  func(context.Context) (func(), error) { return s.listening.take(tenantName) },
		Changed: func() <-chan struct{} { return s.config.Host.Changed(tenantName) },
		Hints:   func(key action.Key) (mcp.Hints, bool) { return s.hints(tenantName, key) },
		Tell:    func(err error) status.Wire { return s.tell(c, err) },
		Log:     s.log.With(slog.String("tenant", tenantName), slog.String("request_id", requestID(c))),
		Version: apiVersion,
	})
	w := &mcpWriter{flowWriter: flowWriter{c.Response(), c}}
	face.ServeHTTP(w, r)
	return w.problem()
}

// mcpWriter holds back failures that the SDK writes as plain text: they are answered with problems, as all others are.
type mcpWriter struct {
	flowWriter
	code int // of a failure that is held back; 0: none
	text []byte
}

// maxMCPFailure bounds the text of such a failure, in bytes.
const maxMCPFailure = 300

func (w *mcpWriter) WriteHeader(code int) {
	if code >= http.StatusBadRequest && strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		w.code = code
		return
	}
	w.flowWriter.WriteHeader(code)
}

func (w *mcpWriter) Write(b []byte) (int, error) {
	if w.code == 0 {
		return w.flowWriter.Write(b)
	}
	w.text = append(w.text, b[:min(len(b), maxMCPFailure-len(w.text))]...)
	return len(b), nil
}

// problem is the failure that was held back.
func (w *mcpWriter) problem() error {
	if w.code == 0 {
		return nil
	}
	w.Header().Del("Content-Type")
	text := abi.Line(strings.TrimSpace(string(w.text)), maxMCPFailure)
	if w.code >= http.StatusInternalServerError { // its text may tell of the server, and goes to the log
		return status.Errorf(status.Internal, "answer a message of MCP: %s", text)
	}
	return status.Publicf(status.InvalidArgument, "the message is none that MCP has: %s", text)
}

// runFor runs an action in the tenant's slot, which it has for no longer than that.
func (s *Server) runFor(ctx context.Context, c echo.Context, a action.Action, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	tenantName := param(c, "tenant")
	slot, err := s.config.Host.BeginCall(ctx, tenantName, a.Desc().Key())
	if err != nil {
		return nil, err
	}
	defer slot.Done()
	ctx = slot.Context
	if w, ok := c.Get(writerKey).(*timedWriter); ok && emit != nil {
		ctx = wasmhost.WithWriteBy(ctx, func(deadline time.Time) { w.guest.Store(deadline.UnixNano()) })
	}
	if kind := a.Desc().Kind; !slot.OfModule() && (kind == action.Tool || kind == action.ToolV2) {
		a = s.counted(a, tenantName, usage.Tool)
	}
	return a.RunJSON(ctx, in, emit)
}

// tell notes an error that the answer of a request carries, and returns what its caller reads.
func (s *Server) tell(c echo.Context, err error) status.Wire {
	err = ended(c.Request().Context(), err)
	if why := identityEnded(c); why != nil {
		err = why
	}
	c.Set(logErrorKey, err)
	wire := status.ToWire(err, s.config.Dev)
	wire.Message = access.Redact(wire.Message)
	if len(wire.Details) > 0 {
		wire.Details = json.RawMessage(access.Redact(string(wire.Details)))
	}
	return wire
}

// hints says what is known of a module's tool.
func (s *Server) hints(tenantName string, key action.Key) (mcp.Hints, bool) {
	name, _, _ := strings.Cut(key.Name, "/")
	rec, err := s.config.Host.Module(tenantName, name)
	if err != nil {
		return mcp.Hints{}, false
	}
	return mcp.HintsOf(rec, key)
}
