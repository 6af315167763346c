package mcp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// inherited are the variables of this process that every server gets, besides LC_….
var inherited = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "TZ", "TMPDIR",
	// Windows starts little without these.
	"APPDATA", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATHEXT", "PROCESSOR_ARCHITECTURE", "PROGRAMFILES", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "USERNAME", "USERPROFILE",
}

// environment is that of a server's process: a few variables of this one's, and its own.
func environment(own map[string]string) []string {
	env := map[string]string{}
	for _, line := range os.Environ() {
		name, value, _ := strings.Cut(line, "=")
		if slices.Contains(inherited, strings.ToUpper(name)) || strings.HasPrefix(name, "LC_") {
			env[name] = value
		}
	}
	maps.Copy(env, own)
	lines := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		lines = append(lines, name+"="+env[name])
	}
	return lines
}

// process is a server that was started, and its connection: one message a line on its standard input and output.
type process struct {
	c     *client
	cmd   *exec.Cmd
	flood flood
	lines chan []byte
	ended chan struct{} // closed when no more lines come; why is set then
	why   error

	in, out, errs   *os.File
	exited, closing chan struct{}
	stop            func() // ends the process with all that it has started, and waits

	writing sync.Mutex // held while a message is written
}

var (
	_ sdk.Transport  = (*process)(nil)
	_ sdk.Connection = (*process)(nil)
)

// start starts the server.
func (c *client) start() (*process, error) {
	path, err := exec.LookPath(c.server.Command)
	if err != nil {
		return nil, c.failure(status.FailedPrecondition, "the program %q is not installed", abi.Line(c.server.Command, 256)).WithCause(err)
	}
	c.mu.Lock()
	c.ended = nil
	c.mu.Unlock()
	p := &process{c: c, lines: make(chan []byte), ended: make(chan struct{}), exited: make(chan struct{}), closing: make(chan struct{})}
	p.cmd = &exec.Cmd{Path: path, Args: append([]string{c.server.Command}, c.server.Args...), Env: environment(c.server.Env), Dir: c.server.Dir}
	ownGroup(p.cmd)
	if err := p.pipes(); err != nil {
		return nil, c.failure(status.Unavailable, "it can't be started").WithCause(err)
	}
	err = p.cmd.Start()
	for _, f := range []any{p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr} {
		_ = f.(io.Closer).Close() // the process has it
	}
	if err != nil {
		p.closePipes()
		return nil, c.failure(status.FailedPrecondition, "the program %q can't be started", abi.Line(c.server.Command, 256)).WithCause(err)
	}
	var readers sync.WaitGroup
	readers.Go(p.read)
	readers.Go(func() { c.logLines(p.errs) })
	readers.Go(func() {
		_ = p.cmd.Wait() // how it ended is of no interest: that it did is
		close(p.exited)
		killGroup(p.cmd) // what it has left behind
		// What has left the group, too, may keep the pipes open.
		_ = p.out.SetReadDeadline(time.Now().Add(politeness))
		_ = p.errs.SetReadDeadline(time.Now().Add(politeness))
	})
	p.stop = sync.OnceFunc(func() {
		close(p.closing)
		_ = p.in.Close() // by which a server is told to end
		select {
		case <-p.exited:
		case <-time.After(politeness):
			killGroup(p.cmd)
		}
		readers.Wait()
		p.closePipes()
	})
	return p, nil
}

// pipes makes the pipes to the process. They are this package's own, so that a descendant that keeps them open does not hold up the
// wait for the process, and so that they have deadlines.
func (p *process) pipes() error {
	var theirs [3]*os.File
	var err error
	if theirs[0], p.in, err = os.Pipe(); err == nil {
		if p.out, theirs[1], err = os.Pipe(); err == nil {
			p.errs, theirs[2], err = os.Pipe()
		}
	}
	if err != nil {
		p.closePipes()
		for _, f := range theirs {
			_ = f.Close()
		}
		return err
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs[0], theirs[1], theirs[2]
	return nil
}

func (p *process) closePipes() {
	for _, f := range []*os.File{p.in, p.out, p.errs} {
		_ = f.Close() // also of one that was not made
	}
}

// politeness is how long a server may take to end by itself.
const politeness = 500 * time.Millisecond

// read takes the lines of the standard output, each bounded.
func (p *process) read() {
	defer close(p.ended)
	lines := bufio.NewReaderSize(p.out, 64<<10)
	for {
		line, err := readLine(lines, p.c.host.MaxMessageBytes)
		if errors.Is(err, errTooLong) {
			p.why = p.c.faulty(p.c.tooBig())
			return
		}
		if err != nil {
			p.why = io.EOF
			return
		}
		if len(line) == 0 {
			continue
		}
		if !p.flood.admit() {
			p.why = p.c.faulty(p.c.floods())
			return
		}
		select {
		case p.lines <- line:
		case <-p.closing:
			return
		}
	}
}

var errTooLong = errors.New("a line is too long")

// readLine reads one line without its end, of at most limit bytes.
func readLine(r *bufio.Reader, limit int64) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if int64(len(line)+len(part)) > limit {
			return nil, errTooLong
		}
		line = append(line, part...)
		if err == nil {
			return bytes.TrimSpace(line), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

func (c *client) tooBig() *status.Error {
	return c.failure(status.ResourceExhausted, "it has sent a message of more than %d bytes", c.host.MaxMessageBytes)
}

func (c *client) floods() *status.Error {
	return c.failure(status.ResourceExhausted, "it sends messages faster than they are read")
}

// Connect implements [sdk.Transport].
func (p *process) Connect(context.Context) (sdk.Connection, error) { return p, nil }

// SessionID implements [sdk.Connection].
func (p *process) SessionID() string { return "" }

// Read implements [sdk.Connection]. What is no message ends the connection.
func (p *process) Read(ctx context.Context) (jsonrpc.Message, error) {
	for {
		select {
		case line := <-p.lines:
			if line[0] != '{' {
				// Many servers write a greeting there before they speak the protocol.
				p.c.host.Logger.Debug("an MCP server writes what is no message", slog.String("server", p.c.name))
				continue
			}
			m, err := jsonrpc.DecodeMessage(line)
			if err != nil {
				return nil, p.c.faulty(p.c.failure(status.Unavailable, "it has sent what is no message").WithCause(err))
			}
			return m, nil
		case <-p.ended:
			if p.why == nil {
				return nil, io.EOF
			}
			return nil, p.why
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// patience is how long a server may take to read a message.
const patience = 10 * time.Second

// Write implements [sdk.Connection]. Its caller runs apart from who waits for the call.
func (p *process) Write(_ context.Context, m jsonrpc.Message) error {
	raw, err := jsonrpc.EncodeMessage(m)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	_ = p.in.SetWriteDeadline(time.Now().Add(patience)) // not every system has them
	if _, err = p.in.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("write to the server: %w", err)
	}
	return nil
}

// Close implements [sdk.Connection].
func (p *process) Close() error {
	p.stop()
	return nil
}

// Bounds of what a server's standard error adds to the log, for each start.
const (
	maxLogLines = 200
	maxLogLine  = 1 << 10
)

// logLines writes the lines of a server's standard error into the log, cleaned, and reads on without when they are many.
func (c *client) logLines(r io.Reader) {
	lines := bufio.NewReaderSize(r, 4<<10)
	for n := 0; ; {
		part, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
		text := c.redacted(string(part))
		if text == "" || n >= maxLogLines {
			continue
		}
		n++
		c.host.Logger.Info("an MCP server writes", slog.String("server", c.name), slog.String("text", abi.Line(text, maxLogLine)))
		if n == maxLogLines {
			c.host.Logger.Info("an MCP server writes more, which is left out", slog.String("server", c.name))
		}
	}
}
