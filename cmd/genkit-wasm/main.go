// Command genkit-wasm runs WebAssembly tools and the models that call them: as a
// server to which modules are uploaded while it runs, and as that server's client.
//
//	genkit-wasm serve
//	genkit-wasm upload textkit.wasm
//	genkit-wasm generate --model openai/gpt-5-mini --tool textkit/slugify --prompt "…"
//
// It owns flags, configuration and wiring: it is the only place where the engine,
// the host of modules and the built-in plug-ins meet.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

func main() {
	compiler := wasmhost.CompileChild() // first of all: a compiling process does nothing else
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, compiler: compiler}
	go func() {
		<-signals // the first asks for an end in good order
		cancel()
		var late <-chan time.Time
		if !a.drains.Load() {
			late = time.After(interruptPatience)
		}
		select {
		case <-signals: // the second does not ask
		case <-late:
		}
		os.Exit(exitInterrupted)
	}()
	os.Exit(a.execute(ctx, os.Args[1:]))
}

// interruptPatience is how long a command may take to end after a signal. One that
// reads from a pipe that nobody writes to can't be told to.
const interruptPatience = 2 * time.Second

// execute runs one command and returns its exit code. It writes the error, if any,
// to stderr.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{in: stdin, out: stdout, err: stderr}
	return a.execute(ctx, args)
}

func (a *app) execute(ctx context.Context, args []string) int {
	defer func() {
		if a.trusting != nil {
			a.trusting.CloseIdleConnections()
		}
	}()
	root := a.command()
	root.SetArgs(append([]string{}, args...)) // nil would be the arguments of the process
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	return a.report(err)
}
