package sandbox

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental/sys"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/wasi"
)

// wasiModule is WASI, whose functions find what the guest has open through its call.
func wasiModule(r wazero.Runtime) wazero.HostModuleBuilder {
	return wasi.Module(r, func(ctx context.Context) *wasi.Process { return calling(ctx).process })
}

// wasiHost implements WASI's host for an instance.
type wasiHost struct{ in *instance }

var _ wasi.Host = wasiHost{}

// Charge implements [wasi.Host].
func (h wasiHost) Charge(units int64) { h.in.charge(units) }

// Worked implements [wasi.Host].
func (h wasiHost) Worked(bytes int) { h.in.state.worked(bytes) }

// Print makes a log line of a guest's print.
func (h wasiHost) Print(fd int32, text []byte) {
	level := LevelInfo
	if fd == 2 {
		level = LevelWarn
	}
	h.in.state.log(level, text)
}

// Random gives system randomness, up to the limit of a call.
func (h wasiHost) Random(p []byte) error {
	st := h.in.state
	if st.randomBytes += int64(len(p)); st.randomBytes > maxRandomBytes {
		halt(status.ResourceExhausted, "the module took more than %d random bytes", maxRandomBytes)
	}
	if s := st.call.Sources; s != nil {
		return s.Random(p)
	}
	_, err := rand.Read(p)
	return err
}

// Clock gives the time that it is.
func (h wasiHost) Clock(clock uint32, now int64) int64 {
	if s := h.in.state.call.Sources; s != nil {
		return s.Clock(clock, now)
	}
	return now
}

// Sleep ends with the call.
func (h wasiHost) Sleep(d time.Duration) { h.in.sleep(d) }

// Yield lets others run.
func (h wasiHost) Yield() {
	h.in.state.check()
	runtime.Gosched()
}

// FS gives a mount's file system.
func (h wasiHost) FS(m *wasi.Mount) sys.FS {
	if b, ok := m.FS.(Bound); ok {
		return b.Bind(h.in.call)
	}
	return m.FS
}

// call is the call that the instance serves; nil between calls.
func (in *instance) call() *Call {
	if in.state == nil {
		return nil
	}
	return &in.state.call
}

// Exit ends the guest.
func (h wasiHost) Exit(code uint32) { panic(&processExitError{code}) }

func (e *processExitError) Error() string { return fmt.Sprintf("exit code %d", int32(e.code)) }

// sleep ends the guest when its deadline comes or its caller leaves meanwhile.
func (in *instance) sleep(d time.Duration) {
	st := in.state
	st.check()
	if d <= 0 {
		return
	}
	in.wait(func() {
		timer := time.NewTimer(min(d, time.Until(st.deadline)+time.Millisecond))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-st.ctx.Done():
		case <-in.module.sandbox.life.Done():
		}
	})
}
