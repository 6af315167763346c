package worker

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
)

// modeEnv marks a worker, and says how it is connected.
const modeEnv = "GENKIT_WASM_WORKER"

const (
	modeRing   = "ring"
	modeStream = "stream"
)

// launchStream connects a command by its standard input and output.
func launchStream(command func(mode string) *exec.Cmd, start func(func() *exec.Cmd) (*exec.Cmd, error)) (*exec.Cmd, transport, error) {
	toWorker, fromServer, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	fromWorker, toServer, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, toWorker.Close(), fromServer.Close())
	}
	cmd, err := start(func() *exec.Cmd {
		cmd := command(modeStream)
		cmd.Stdin, cmd.Stdout = toWorker, toServer
		return cmd
	})
	if err = errors.Join(err, toWorker.Close(), toServer.Close()); err != nil {
		return nil, nil, errors.Join(err, fromServer.Close(), fromWorker.Close())
	}
	return cmd, newStream(fromWorker, fromServer), nil
}

func (p *Pool) processors() int { return runtime.GOMAXPROCS(0) }

// command starts this program again as a worker.
func (p *Pool) command(mode string) *exec.Cmd {
	cmd := exec.Command(p.config.Command[0], p.config.Command[1:]...) //nolint:gosec,noctx // this program itself; it outlives the call that has it started
	cmd.Env = []string{modeEnv + "=" + mode, "GOMAXPROCS=" + strconv.Itoa(p.processors()), "GOTRACEBACK=none", "GODEBUG="}
	if runtime.GOOS != "windows" {
		cmd.Dir = "/"
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.null, p.null, p.null
	return cmd
}
