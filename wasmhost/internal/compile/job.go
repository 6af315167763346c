package compile

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// Job is work on foreign bytes that happens in a process of its own, as compiling does: this program, started again,
// with limits on processor time and memory, and without the server's environment, descriptors and secrets.
type Job struct {
	Command []string // as of [Child]
	Env     string   // "NAME=value", by which the process knows that it has this job
	What    string   // for errors: "transforming the script"

	CPU         time.Duration
	MemoryBytes int64
	OutputBytes int
}

// Run starts the process, gives it in, waits until it ends and returns its output. It fails with RESOURCE_EXHAUSTED
// when the process meets a limit or takes too long, UNAVAILABLE when it can't be started.
func (j *Job) Run(ctx context.Context, in []byte) ([]byte, error) {
	cpu, memory := j.CPU*buildFactor, j.MemoryBytes*buildFactor
	waiting, cancel := context.WithTimeout(ctx, 10*time.Second+5*cpu)
	defer cancel()
	out, said := &cappedBuffer{most: j.OutputBytes}, &cappedBuffer{most: 64 << 10}
	cmd := exec.CommandContext(waiting, j.Command[0], j.Command[1:]...) //nolint:gosec // this program itself
	if runtime.GOOS != "windows" {
		cmd.Dir = "/"
	}
	cmd.Env = []string{j.Env, "GOMAXPROCS=1", "GOTRACEBACK=none", "GODEBUG=", "GOMEMLIMIT=" + strconv.FormatInt(memory*3/4, 10)}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), out, said
	cmd.WaitDelay = 5 * time.Second
	isolate(cmd)
	runtime.LockOSThread() // the child ends with the thread that has started it
	err := cmd.Run()
	runtime.UnlockOSThread()
	if err != nil {
		return nil, j.failure(ctx, err, said.buf.String())
	}
	return out.buf.Bytes(), nil
}

// failure says why the process ended without an answer.
func (j *Job) failure(ctx context.Context, err error, said string) error {
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return share.ContextError(ctx.Err())
	case !errors.As(err, &exit) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, exec.ErrWaitDelay) && !strings.Contains(err.Error(), tooMuch):
		if p := storedir.Problem("start a process", err); status.Convert(p).Public() {
			return p
		}
		return status.Publicf(status.Unavailable, "the process for %s can't be started", j.What).WithCause(err)
	case exit != nil && exit.ExitCode() == exitBroken:
		return status.Errorf(status.Internal, "%s: %w: %s", j.What, err, abi.Line(said, 1000))
	case exit != nil && exit.ExitCode() == exitCPU, outOfCPU(exit):
		return status.Publicf(status.ResourceExhausted, "%s takes more than the %v of processor time that its size allows", j.What, j.CPU).WithCause(err)
	}
	return status.Publicf(status.ResourceExhausted, "%s takes more memory or time than its size allows; it may be nested too deeply", j.What).WithCause(err)
}

// RunJob is the other side: the process calls it with what it is to do, whose output it writes. It returns the code
// to exit with.
func RunJob(cpu time.Duration, memory int64, do func() error) int {
	memory *= buildFactor
	debug.SetMemoryLimit(memory * 3 / 4)
	confine(cpu*buildFactor, memory)
	go watch(cpu*buildFactor, memory) // ends with the process
	if do() != nil {
		return exitBroken
	}
	return 0
}
