package compile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// Validating, metering and compiling what somebody has uploaded happens in a process of
// its own: this program, started again, with limits on processor time and memory that the
// system enforces, and without the environment, descriptors and secrets of the server. Requests
// go in by its standard input, one artifact or failure comes out of its standard output, and
// then it ends.

// childEnv marks the compiling process.
const childEnv = "GENKIT_WASM_COMPILE_CHILD"

// Child is the hook for processes that compile modules. A program that wants
// them calls it first of all in main (in TestMain, for tests) and hands what it returns
// to [Config].Command. In a compiling process it never returns.
func Child() []string {
	if os.Getenv(childEnv) != "" {
		os.Exit(compileChild(os.Stdin, os.Stdout))
	}
	self, err := ownProgram()
	if err != nil {
		return nil
	}
	return []string{self}
}

// Exit codes of the compiling process that say which limit it has met.
const (
	exitBroken = 3
	exitCPU    = 4
	exitMemory = 5
)

// buildRequest precedes the module on the child's standard input.
type buildRequest struct {
	Engine        string        `json:"engine"`
	TableElements uint32        `json:"tableElements"`
	CPU           time.Duration `json:"cpu"`
	MemoryBytes   int64         `json:"memoryBytes"`
	WasmBytes     int64         `json:"wasmBytes"`
}

// buildLimits are the limits of compiling a module: an honest one of its size takes a
// fourth of it, a small one a seventh.
func buildLimits(wasmBytes int) (cpu time.Duration, memory int64) {
	mib := float64(wasmBytes) / (1 << 20)
	cpu = 300*time.Millisecond + time.Duration(mib*4*float64(time.Second))
	return cpu * buildFactor, (56<<20 + int64(mib*96*(1<<20))) * buildFactor
}

// smallModule is the size up to which the answer must come soon: it is small enough to be sent over and over.
const smallModule = 128 << 10

// patience is the time for a compiling process on a machine that is busy with other things. An honest
// module that is small takes a tenth of it.
func patience(wasmBytes int, cpu time.Duration) time.Duration {
	if wasmBytes <= smallModule {
		return 1800 * time.Millisecond * buildFactor
	}
	return 10*time.Second + 5*cpu
}

// compileChild is the compiling process. It reads a request and a module and writes an
// artifact, or why there is none.
func compileChild(in io.Reader, out io.Writer) int {
	var req buildRequest
	if err := readHeader(in, &req); err != nil {
		return exitBroken
	}
	debug.SetMemoryLimit(req.MemoryBytes * 3 / 4)
	confine(req.CPU, req.MemoryBytes)
	go watch(req.CPU, req.MemoryBytes)                      // ends with the process
	a, err := buildArtifact(context.Background(), in, &req) //nolint:forbidigo // the compiling process has no caller; it watches its own limits
	if err != nil {
		err = writeHeader(out, artifactHeader{Failure: failureOf(err)})
	} else {
		err = a.write(out, "", req.Engine)
	}
	if err != nil {
		return exitBroken
	}
	return 0
}

// watch ends the process when it has used up what it may. The limits that the system
// enforces lie above these, for the case that it is held up.
func watch(cpu time.Duration, memory int64) {
	start := time.Now()
	for {
		time.Sleep(5 * time.Millisecond)
		usedCPU, usedMemory := consumed(start)
		switch {
		case usedCPU > cpu:
			os.Exit(exitCPU)
		case usedMemory > memory:
			os.Exit(exitMemory)
		}
	}
}

// buildArtifact is the whole work of the child: inspect again (the parsed form is not sent), rewrite with
// proof, compile. The engine must be the parent's, or the parent could not load the code.
func buildArtifact(ctx context.Context, in io.Reader, req *buildRequest) (_ *artifact, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = status.Errorf(status.Internal, "compiling panicked: %v", r)
		}
	}()
	wasm := make([]byte, req.WasmBytes)
	if _, err := io.ReadFull(in, wasm); err != nil {
		return nil, err
	}
	parsed, err := inspect.Parse(wasm, unbounded())
	if err != nil {
		return nil, err
	}
	const dir = "." // the parent's choice
	_, engine, err := engineFolder(ctx, dir)
	if err != nil {
		return nil, err
	}
	if engine != req.Engine {
		return nil, errors.New("this process has another engine than the one that asked")
	}
	metered, err := rewrite(ctx, wazero.NewRuntimeWithConfig(ctx, interpreterConfig()), meter.Rewrite, wasm, parsed, req.TableElements, false)
	if err != nil {
		return nil, err
	}
	return compileIn(ctx, dir, metered)
}

// spawn builds an artifact in a process of its own. It blocks until that has ended. The child gets an empty
// directory, a single processor, and a memory limit for Go's collector below the one that ends it, so
// that it collects before it fails.
func (c *Compiler) spawn(ctx context.Context, wasm []byte, tableElements uint32) (*artifact, error) {
	dir, err := os.MkdirTemp(c.scratch, "compile-")
	if err != nil {
		return nil, storedir.Problem("compile the module", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // the system removes the rest
	cpu, memory := buildLimits(len(wasm))
	if c.config.MemoryBytes > 0 {
		memory = min(memory, c.config.MemoryBytes)
	}
	var head bytes.Buffer
	err = writeHeader(&head, buildRequest{Engine: c.engine, TableElements: tableElements, CPU: cpu, MemoryBytes: memory, WasmBytes: int64(len(wasm))})
	if err != nil {
		return nil, status.Errorf(status.Internal, "compile: %w", err)
	}
	waiting, cancel := context.WithTimeout(ctx, patience(len(wasm), cpu))
	defer cancel()
	out, said := &cappedBuffer{most: 2 * maxArtifactBytes}, &cappedBuffer{most: 64 << 10}
	cmd := exec.CommandContext(waiting, c.config.Command[0], c.config.Command[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{
		childEnv + "=1", "GOMAXPROCS=1", "GOTRACEBACK=none", "GODEBUG=",
		"GOMEMLIMIT=" + strconv.FormatInt(memory*3/4, 10),
	}
	cmd.Stdin = io.MultiReader(&head, bytes.NewReader(wasm))
	cmd.Stdout, cmd.Stderr = out, said
	cmd.WaitDelay = 5 * time.Second
	isolate(cmd)
	runtime.LockOSThread() // the child ends with the thread that has started it
	err = cmd.Run()
	runtime.UnlockOSThread()
	if err != nil {
		return nil, childFailure(ctx, waiting, err, said.buf.String(), cpu, memory)
	}
	a, err := readArtifact(&out.buf, "", c.engine)
	if err != nil {
		return nil, status.Convert(err)
	}
	return a, nil
}

// childFailure says why the compiling process ended without an answer. waiting is over
// when its time was.
func childFailure(ctx, waiting context.Context, err error, said string, cpu time.Duration, memory int64) error {
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return share.ContextError(ctx.Err())
	case !errors.As(err, &exit) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, exec.ErrWaitDelay):
		if p := storedir.Problem("start the compiler", err); status.Convert(p).Public() {
			return p
		}
		return status.Publicf(status.Unavailable, "the compiler can't be started").WithCause(err)
	case exit != nil && exit.ExitCode() == exitMemory, strings.Contains(said, "out of memory"), strings.Contains(said, "cannot allocate memory"):
		return status.Publicf(status.ResourceExhausted, "compiling the module takes more than the %d MiB that its size allows", memory>>20).WithCause(err)
	case exit != nil && exit.ExitCode() == exitCPU, outOfCPU(exit):
		return status.Publicf(status.ResourceExhausted, "compiling the module takes more than the %v of processor time that its size allows", cpu.Round(100*time.Millisecond)).WithCause(err)
	case exit != nil && exit.ExitCode() < 0 && waiting.Err() == nil: // a signal that is not ours
		return status.Publicf(status.ResourceExhausted, "the system ended the process that compiled the module, most likely because the machine has no memory left; try again later").
			WithRetryAfter(10 * time.Second).WithCause(err)
	case exit == nil || exit.ExitCode() < 0: // ended by us
		return status.Publicf(status.ResourceExhausted, "compiling the module was ended because it took too long; try again when the server is less busy").
			WithRetryAfter(10 * time.Second).WithCause(err)
	}
	return status.Errorf(status.Internal, "the compiler failed: %w: %s", err, abi.Line(said, 1000))
}

const tooMuch = "too much output"

// cappedBuffer takes at most so many bytes.
type cappedBuffer struct {
	buf  bytes.Buffer
	most int
}

// Write fails as a whole when p does not fit, which ends the child by a broken pipe.
func (b *cappedBuffer) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.most {
		return 0, errors.New(tooMuch)
	}
	return b.buf.Write(p)
}

// ceilSeconds rounds up, with a second to spare.
func ceilSeconds(d time.Duration) uint64 { return uint64(math.Ceil(d.Seconds())) + 1 }

// goMemory returns the memory of the Go runtime, in bytes.
func goMemory() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}
