//go:build unix

package faces_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

// patience bounds everything here: other work may share the machine.
const patience = 3 * time.Minute

// nodeModules returns the folder of the installed packages, or skips the test.
func nodeModules(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("GENKIT_FACES")
	if dir == "" {
		var err error
		dir, err = os.Getwd()
		require.NoError(t, err)
	}
	modules := filepath.Join(dir, "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "genkit-cli")); err != nil {
		peer.Missing(t, "Genkit's packages are not installed: run make faces, or name a folder with a node_modules in GENKIT_FACES")
	}
	if _, err := exec.LookPath("node"); err != nil {
		peer.Missing(t, "node is not installed")
	}
	return modules
}

var built = struct {
	mu   sync.Mutex // guards the fields below
	dir  string
	bins map[string]string
}{bins: map[string]string{}}

// binary builds a command of this repository, once.
func binary(t *testing.T, pkg string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if bin, ok := built.bins[pkg]; ok {
		return bin
	}
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "faces")
		require.NoError(t, err)
		built.dir = dir
	}
	bin := filepath.Join(built.dir, filepath.Base(pkg))
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, pkg).CombinedOutput()
	require.NoError(t, err, "%s", out)
	built.bins[pkg] = bin
	return bin
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// project is a folder in which the command line finds an app.
type project struct {
	t   *testing.T
	cli string
	dir string
	env []string
}

func newProject(t *testing.T) *project {
	t.Helper()
	modules := nodeModules(t)
	p := &project{t: t, cli: filepath.Join(modules, "genkit-cli", "dist", "bin", "genkit.js"), dir: t.TempDir()}
	home := t.TempDir()
	p.env = append(without(os.Environ(), "GENKIT_", "OTEL_", "OPENAI_", "HOME="), "HOME="+home, "NO_COLOR=1")
	p.write("go.mod", "module example.com/project\n")
	raw, err := os.ReadFile("../../examples/calc/calc.wasm")
	require.NoError(t, err)
	p.write("calc.wasm", string(raw))
	p.genkit("config", "set", "analyticsOptOut", "true")
	return p
}

func without(env []string, prefixes ...string) []string {
	var kept []string
next:
	for _, kv := range env {
		for _, prefix := range prefixes {
			if strings.HasPrefix(kv, prefix) {
				continue next
			}
		}
		kept = append(kept, kv)
	}
	return kept
}

func (p *project) write(name, text string) {
	p.t.Helper()
	require.NoError(p.t, os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600))
}

func (p *project) read(name string) string {
	p.t.Helper()
	raw, err := os.ReadFile(filepath.Join(p.dir, name))
	require.NoError(p.t, err)
	return string(raw)
}

func (p *project) readJSON(name string, v any) {
	p.t.Helper()
	require.NoError(p.t, json.Unmarshal([]byte(p.read(name)), v), "%s", p.read(name))
}

// command prepares a call of the command line that asks nothing.
func (p *project) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "node", append([]string{p.cli, "--non-interactive", "--no-update-notification"}, args...)...)
	cmd.Dir, cmd.Env = p.dir, p.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return interrupt(cmd) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// genkit runs the command line and returns what it says. It exits with 0 whatever
// happens to a flow, so who calls has to look.
func (p *project) genkit(args ...string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	out, err := p.command(ctx, args...).CombinedOutput()
	require.NoError(p.t, err, "genkit %v\n%s", args, out)
	return string(out)
}

// process is a program that runs beside a test.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *output
	done chan error
}

// output collects the output of a process.
type output struct {
	mu   sync.Mutex // guards the fields below
	buf  bytes.Buffer
	news chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	close(o.news)
	o.news = make(chan struct{})
	return len(p), nil
}

func (o *output) look() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String(), o.news
}

// start runs a command until the test ends, or it is stopped.
func (p *project) start(cmd *exec.Cmd, env ...string) *process {
	p.t.Helper()
	if cmd.Dir == "" {
		cmd.Dir = p.dir
	}
	cmd.Env = append(append([]string{}, p.env...), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r := &process{t: p.t, cmd: cmd, out: &output{news: make(chan struct{})}, done: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = r.out, r.out
	require.NoError(p.t, cmd.Start())
	go func() { r.done <- cmd.Wait() }()
	p.t.Cleanup(r.stop)
	return r
}

// app starts the example with version 1 of the reflection API.
func (p *project) app() *process {
	p.t.Helper()
	r := p.start(exec.CommandContext(p.t.Context(), binary(p.t, "../../examples/devui"), "calc.wasm"), "GENKIT_ENV=dev", "GENKIT_REFLECTION_PORT="+freePort(p.t))
	r.saysSoon("reflection server listening")
	return r
}

// saysSoon waits until the process has written text.
func (r *process) saysSoon(text string) string {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		said, news := r.out.look()
		if strings.Contains(said, text) {
			return said
		}
		select {
		case <-news:
		case err := <-r.done:
			r.done <- err
			said, _ = r.out.look()
			require.Contains(r.t, said, text, "the process has ended: %v", err)
			return said
		case <-deadline:
			require.Contains(r.t, said, text)
		}
	}
}

// interrupt acts like a terminal at Ctrl-C: it signals the children of the command line
// too.
func interrupt(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }

// stop ends the process in good order and waits for it.
func (r *process) stop() {
	_ = interrupt(r.cmd)
	select {
	case err := <-r.done:
		r.done <- err
	case <-time.After(30 * time.Second):
		_ = r.cmd.Process.Kill()
		r.t.Error("the process does not end when it is asked to")
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	addr, ok := l.Addr().(*net.TCPAddr)
	require.True(t, ok)
	return strconv.Itoa(addr.Port)
}

// call sends a request to the Dev UI's server and returns status and body.
func call(t *testing.T, method, url string, body any) (int, string) {
	t.Helper()
	var in io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		require.NoError(t, err)
		in = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, in)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return 0, ""
	}
	require.NoError(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(raw)
}

// soon tries until it works.
func soon(t *testing.T, what string, try func() bool) {
	t.Helper()
	require.Eventually(t, try, patience, 100*time.Millisecond, what)
}
