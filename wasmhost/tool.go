package wasmhost

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/sandbox"
)

// wasmTool runs one exported function as a tool.
type wasmTool struct {
	host     *Host
	tool     abi.Tool
	name     string // "<module>/<tool>"
	tenant   string
	guest    *sandbox.Module
	services *services
	rate     *rate.Limiter // nil: no limit
	log      *slog.Logger
	// parses is set when text output that is JSON counts as JSON.
	parses bool
}

// bind makes the actions of a descriptor.
func (h *Host) bind(l *loaded, d *abi.Descriptor, limits policy.Limits) error {
	l.actions = map[action.Key]action.Action{}
	var limiter *rate.Limiter
	if n := limits.CallsPerMinute; n > 0 {
		limiter = rate.NewLimiter(rate.Every(time.Minute/time.Duration(n)), int(n))
	}
	for _, t := range d.Tools {
		w := &wasmTool{
			host: h, tool: t, name: l.record.Name + "/" + t.Name, tenant: l.record.Tenant, guest: l.guest, services: l.services, rate: limiter,
			log: h.log.With(slog.String("tenant", l.record.Tenant), slog.String("tool", l.record.Name+"/"+t.Name)),
		}
		out, err := schema.Compile(t.OutputSchema)
		if err != nil {
			return status.Publicf(status.InvalidArgument, "output schema of tool %q: %w", t.Name, err)
		}
		w.parses = out.Demanding()
		build := tool.NewRaw
		if t.Multipart {
			build = tool.NewMultipartRaw
		}
		a, err := build(w.name, t.Description, t.InputSchema, t.OutputSchema, w.run)
		if err != nil {
			return err
		}
		l.actions[a.Desc().Key()] = a
		l.descs = append(l.descs, a.Desc())
		l.record.Actions = append(l.record.Actions, a.Desc().Key().String())
	}
	return nil
}

// run calls the guest. The input has passed its schema; the output will be checked
// against its own by the action.
func (w *wasmTool) run(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	if w.rate != nil {
		if r := w.rate.Reserve(); r.Delay() > 0 {
			wait := r.Delay()
			r.Cancel()
			return nil, status.Publicf(status.ResourceExhausted, "tool %q is called too often; try again in %v", w.name, wait.Round(time.Second)).WithRetryAfter(wait)
		}
	}
	input, err := w.input(in)
	if err != nil {
		return nil, err
	}
	visit := &visit{services: w.services, nest: nestOf(ctx)}
	res, err := w.guest.Call(ctx, sandbox.Call{
		Export: w.tool.Export, Input: input, Context: action.Context(ctx), Emit: visible(emit), Door: visit,
		Log: func(level sandbox.Level, line string) {
			w.log.LogAttrs(ctx, slogLevel(level), GuestLog, slog.String("line", line))
		},
	})
	if errors.Is(err, sandbox.ErrClosed) {
		return w.successor(ctx, in, emit, err)
	}
	if err != nil {
		return nil, err
	}
	telemetry.AnnotateInt(ctx, "wasm.fuel.consumed", res.Fuel)
	if visit.calls > 0 {
		telemetry.AnnotateInt(ctx, "wasm.host.calls", visit.calls)
		telemetry.AnnotateInt(ctx, "wasm.http.requests", visit.requests.Load())
	}
	telemetry.AnnotateInt(ctx, "wasm.memory.peak_bytes", res.MemoryBytes)
	if res.Interrupted {
		return nil, tool.Interrupt(abi.Escape(res.Interrupt))
	}
	return w.output(res.Output)
}

// successor serves a call that found its module replaced between lookup and call:
// the tool of the same key in the module that is in service now.
func (w *wasmTool) successor(ctx context.Context, in json.RawMessage, emit action.Emit, gone error) (json.RawMessage, error) {
	kind := action.Tool
	if w.tool.Multipart {
		kind = action.ToolV2
	}
	a, err := w.host.Provider(w.tenant).Resolve(ctx, action.Key{Kind: kind, Name: w.name})
	if err != nil {
		return nil, err
	}
	if w.host.isClosed() {
		return nil, gone
	}
	return a.RunJSON(ctx, in, emit)
}

func (w *wasmTool) input(in json.RawMessage) ([]byte, error) {
	if len(in) == 0 {
		in = json.RawMessage("null")
	}
	if w.tool.IO != abi.IOText {
		return in, nil
	}
	var text string
	if in[0] != '"' || json.Unmarshal(in, &text) != nil {
		return nil, status.Publicf(status.InvalidArgument, "tool %q takes text: its input must be a JSON string", w.name)
	}
	return []byte(text), nil
}

func (w *wasmTool) output(out []byte) (json.RawMessage, error) {
	if w.tool.IO != abi.IOText {
		return abi.Escape(out), nil // nothing at all becomes null
	}
	if !utf8.Valid(out) {
		return nil, status.Publicf(status.Internal, "the output of tool %q is not valid UTF-8", w.name)
	}
	if w.parses && schema.Check(out) == nil {
		return abi.Escape(out), nil
	}
	raw, err := json.Marshal(string(out))
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the output of tool %q: %w", w.name, err)
	}
	return abi.Escape(raw), nil
}

// visible is emit for chunks in which nothing is hidden.
func visible(emit action.Emit) action.Emit {
	if emit == nil {
		return nil
	}
	return func(chunk json.RawMessage) error { return emit(abi.Escape(chunk)) }
}

// GuestLog is the message under which a guest's lines are logged, each in the
// attribute "line".
const GuestLog = "guest"

// LevelTrace is the level at which a guest's trace lines are logged.
const LevelTrace = slog.LevelDebug - 4

func slogLevel(l sandbox.Level) slog.Level {
	switch l {
	case sandbox.LevelTrace:
		return LevelTrace
	case sandbox.LevelDebug:
		return slog.LevelDebug
	case sandbox.LevelWarn:
		return slog.LevelWarn
	case sandbox.LevelError:
		return slog.LevelError
	}
	return slog.LevelInfo
}
