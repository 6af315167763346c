package sandbox

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/compile"
)

// processExitError is a guest's end by proc_exit.
type processExitError struct{ code uint32 }

// exitError is a function's result other than 0.
type exitError struct{ code int32 }

func (e *exitError) Error() string { return fmt.Sprintf("returned %d", e.code) }

// wazero's texts for the end of a guest: a trap, or a full native stack.
const (
	trapPrefix    = "wasm error: "
	stackOverflow = "stack overflow"
)

// failure returns the error for the end of a guest: one of our stops, an exit, a trap, or a fault of
// the host. The text of its result may be shown; stacks stay here.
func (in *instance) failure(err error) error {
	in.trace(err)
	if ended, ok := errors.AsType[*stop](err); ok {
		return ended.err
	}
	if exit, ok := errors.AsType[*processExitError](err); ok {
		in.spent = true
		return in.orOutOfMemory(status.Publicf(status.Internal, "the module ended itself with %w", exit))
	}
	var fault runtime.Error
	switch {
	case errors.As(err, &fault):
		in.spent = true
		return status.Errorf(status.Internal, "host fault during a call: %w", err)
	}
	reason, trap := strings.CutPrefix(firstLine(err.Error()), trapPrefix)
	if !trap && !strings.HasPrefix(reason, stackOverflow) {
		in.spent = true
		return status.Errorf(status.Internal, "call: %w", err)
	}
	if strings.Contains(reason, stackOverflow) {
		in.spent = true // its grown native stack goes with it
		return status.Publicf(status.ResourceExhausted, "the module trapped: call stack exhausted (recursion too deep)")
	}
	if said := in.lastWords(); said != "" {
		return in.orOutOfMemory(status.Publicf(status.Internal, "the module trapped: %s: %s", reason, said))
	}
	return in.orOutOfMemory(status.Publicf(status.Internal, "the module trapped: %s", reason))
}

// orOutOfMemory names the cause of a guest's end that followed a refused growth.
func (in *instance) orOutOfMemory(err *status.Error) error {
	if short := in.held.Err(); short != nil {
		return status.Convert(short).WithCause(err)
	}
	if in.state == nil || !in.state.denied {
		return err
	}
	return status.Publicf(status.ResourceExhausted, "the module needs more than its memory limit of %d bytes", in.module.limits.MemoryBytes).WithCause(err)
}

// lastWords returns the error that the guest set before it trapped.
func (in *instance) lastWords() string {
	if in.state == nil {
		return ""
	}
	_ = in.storeWords() // the trap is what ended it
	in.arena.finishError(in.state)
	return abi.Line(string(in.state.errorText), 512)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func instantiateError(err error) error {
	text := compile.ReasonOf(err)
	if strings.Contains(text, "not exported in module") || strings.Contains(text, "not instantiated") || strings.Contains(text, "import") {
		return status.Publicf(status.InvalidArgument, "the module's imports don't fit this host: %s", text)
	}
	if ended, ok := errors.AsType[*stop](err); ok {
		return ended.err
	}
	return status.Publicf(status.InvalidArgument, "the module can't be instantiated: %s", text)
}

func (in *instance) initialiseError(err error, name string) error {
	if exit, ok := errors.AsType[*exitError](err); ok {
		if text := in.state.errorText; len(text) > 0 {
			return abi.GuestError(text, name, exit.code)
		}
		return status.Publicf(status.FailedPrecondition, "the module's %s returned %d", name, exit.code)
	}
	e := status.Convert(err)
	if !e.Public() {
		return e
	}
	return status.Publicf(e.Code, "the module's %s failed: %s", name, e.Message).WithCause(err)
}
