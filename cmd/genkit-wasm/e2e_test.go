package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asProgram is the variable that makes a process of the tests' program be the command.
const asProgram = "TEST_AS_PROGRAM"

// binary returns the path of the command: the program of the tests, which [asProgram] turns into it.
func binary(t *testing.T) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("sends signals that this system does not have")
	}
	if raced {
		t.Skip("starts processes: slow under the race detector, and what they do is raced where it is tested in one")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	return self
}

// command is the command as a process of its own.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// process is a running server.
type process struct {
	*exec.Cmd
	t   *testing.T
	url string
	// printed is what it wrote to its standard output until it listened.
	printed string
	// key is the API key that do calls with; empty is none.
	key string
	log locked
}

// serve starts the binary's server in data and waits until it says where it listens.
func serve(t *testing.T, data string, args ...string) *process {
	t.Helper()
	p := &process{t: t, Cmd: command(t, append([]string{"serve", "--addr", "127.0.0.1:0", "--data", data}, args...)...)}
	p.Stderr = &p.log
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill() })
	for lines := bufio.NewReader(out); p.url == ""; {
		line, err := lines.ReadString('\n')
		require.NoError(t, err, "%v", &p.log)
		p.printed += line
		if url, ok := strings.CutPrefix(line, "listening on "); ok {
			p.url = strings.TrimSpace(url)
		}
	}
	return p
}

// do runs the binary against the server.
func (p *process) do(args ...string) outcome {
	p.t.Helper()
	cmd := command(p.t, args...)
	cmd.Env = append(cmd.Env, serverEnv+"="+p.url)
	if p.key != "" {
		cmd.Env = append(cmd.Env, keyEnv+"="+p.key)
	}
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, failed := err.(*exec.ExitError); !failed { //nolint:errorlint // Run returns it unwrapped
		require.NoError(p.t, err)
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// wait waits for the process to end by itself.
func (p *process) wait(within time.Duration) int {
	p.t.Helper()
	timer := time.AfterFunc(within, func() { _ = p.Process.Kill() })
	defer timer.Stop()
	_ = p.Wait()
	return p.ProcessState.ExitCode()
}

func TestEndToEnd(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	p := serve(t, data)

	require.Equal(t, exitOK, p.do("upload", calcFile).exit)
	vowelsUp := p.do("upload", extism(t, "count_vowels.wasm"), "--name", "vowels", "--descriptor", write(t, "vowels.json", vowels))
	require.Equal(t, exitOK, vowelsUp.exit, vowelsUp.err)
	assert.Regexp(t, `(?s)calc +1 .*vowels +1 `, p.do("ls").out)
	assert.Equal(t, "{\"sum\":3}\n", p.do("run", calcFile, "add", "--input", `{"a":1,"b":2}`).out)
	generate := []string{"generate", "--model", "test/scripted", "--tool", "calc/add", "--config", answers, "20 + 22?"}
	assert.Equal(t, outcome{out: "it is 42\n"}, p.do(generate...))
	assert.Equal(t, outcome{out: "it is 42\n"}, p.do(append(generate, "--stream")...))
	used := p.do("generate", "--model", "test/scripted", "--tool", "count", "-o", "json", "--config",
		`{"script":[{"message":{"role":"model","content":[{"toolRequest":{"name":"count","ref":"1","input":"aeiou"}}]}},{"message":{"role":"model","content":[{"text":"done"}]}}]}`, "count")
	assert.Regexp(t, `"count":\s*5`, used.out, "an unchanged Extism plug-in served the model")

	second := serveFails(t, data)
	assert.Contains(t, second, "in use by another process")

	require.NoError(t, p.Process.Kill())
	p.wait(10 * time.Second)
	again := serve(t, data)
	assert.Regexp(t, `(?s)calc +1 .*vowels +1 `, again.do("ls").out, "the modules are back")
	assert.Equal(t, outcome{out: "it is 42\n"}, again.do(generate...))
	assert.Equal(t, exitNotFound, again.do("rm", "none").exit)

	require.NoError(t, again.Process.Signal(syscall.SIGTERM))
	assert.Equal(t, exitOK, again.wait(10*time.Second), "%v", &again.log)
	assert.Equal(t, exitUnreachable, again.do("ls").exit)
}

// serveFails starts a second server on a directory that is in use.
func serveFails(t *testing.T, data string) string {
	t.Helper()
	out, err := command(t, "serve", "--addr", "127.0.0.1:0", "--data", data).CombinedOutput()
	require.Error(t, err)
	return string(out)
}

// endless are limits under which only a module's own time limit counts.
const endless = `{"timeoutMs":60000,"fuel":1000000000000000}`

// spin begins a call that only its time limit ends, and waits until the server runs it.
func (p *process) spin(limit time.Duration) <-chan string {
	p.t.Helper()
	up := p.do("upload", conformanceFile, "--policy", write(p.t, "p.json", fmt.Sprintf(`{"limits":{"timeoutMs":%d}}`, limit.Milliseconds())))
	require.Equal(p.t, exitOK, up.exit, up.err)
	answer := make(chan string, 1)
	began := make(chan struct{})
	go func() {
		body := io.MultiReader(strings.NewReader(`{"input":`), readerFunc(func([]byte) (int, error) { close(began); return 0, io.EOF }), strings.NewReader(`{}}`))
		resp, err := http.Post(p.url+"/v1/tenants/default/tools/conformance/spin", "application/json", body)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		answer <- fmt.Sprint(resp.StatusCode, " ", string(raw), err)
	}()
	<-began
	require.Eventually(p.t, func() bool {
		var usage struct {
			Running int `json:"running"`
		}
		resp, err := http.Get(p.url + "/v1/tenants/default/usage")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return json.NewDecoder(resp.Body).Decode(&usage) == nil && usage.Running == 1
	}, 10*time.Second, 5*time.Millisecond)
	return answer
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestSIGTERMLetsASlowCallEnd(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--limits", endless)
	answer := p.spin(1500 * time.Millisecond)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	got := <-answer
	assert.True(t, strings.HasPrefix(got, "504 "), "the call came to its own end: %s", got)
	assert.Contains(t, got, "DEADLINE_EXCEEDED")
	assert.Equal(t, exitOK, p.wait(10*time.Second), "%v", &p.log)
	assert.Contains(t, p.log.String(), "draining")
}

func TestDrainTimeoutCancelsWhatIsLeft(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--limits", endless, "--drain-timeout", "200ms")
	answer := p.spin(time.Minute)
	start := time.Now()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	got := <-answer
	assert.True(t, strings.HasPrefix(got, "503 "), got)
	assert.Contains(t, got, `"status_name":"UNAVAILABLE"`)
	assert.Equal(t, exitOK, p.wait(10*time.Second), "%v", &p.log)
	assert.Less(t, time.Since(start), 5*time.Second)
}

// Before it stops to listen a server says for some time that it is about to, and serves
// who comes all the same.
func TestADrainingServerSaysSoFirst(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--drain-delay", "1m")
	require.Equal(t, exitOK, p.do("upload", calcFile).exit)
	get := func(path string) (int, string) {
		resp, err := http.Get(p.url + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(raw)
	}
	code, _ := get("/readyz")
	assert.Equal(t, http.StatusOK, code)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	var text string
	require.Eventually(t, func() bool {
		code, text = get("/readyz")
		return code == http.StatusServiceUnavailable
	}, 10*time.Second, 5*time.Millisecond)
	assert.Contains(t, text, "draining")
	code, _ = get("/healthz")
	assert.Equal(t, http.StatusOK, code)
	resp, err := http.Post(p.url+"/v1/tenants/default/tools/calc/add", "application/json", strings.NewReader(`{"input":{"a":1,"b":2}}`))
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	require.NoError(t, resp.Body.Close())
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	assert.Equal(t, exitInterrupted, p.wait(5*time.Second), "a second signal ends the wait")
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--limits", endless)
	answer := p.spin(time.Minute)
	require.NoError(t, p.Process.Signal(syscall.SIGINT))
	require.Eventually(t, func() bool { return strings.Contains(p.log.String(), "draining") }, 5*time.Second, 5*time.Millisecond)
	require.NoError(t, p.Process.Signal(syscall.SIGINT))
	assert.Equal(t, exitInterrupted, p.wait(5*time.Second))
	<-answer
}
