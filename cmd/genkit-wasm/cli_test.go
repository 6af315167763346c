package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	wasmhost.CompileChild() // where a process of that kind was started
	config, err := os.MkdirTemp("", "config")
	if err != nil {
		panic(err)
	}
	_ = os.Setenv("XDG_CONFIG_HOME", config) // no profile of the user who runs the tests
	for _, name := range []string{serverEnv, keyEnv, profileEnv, caEnv, "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_API_KEY", "GOOGLE_GEMINI_BASE_URL", secretsKeyEnv} {
		_ = os.Unsetenv(name)
	}
	code := m.Run()
	_ = os.RemoveAll(config)
	http.DefaultClient.CloseIdleConnections()
	httpClient().CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const (
	calcFile        = "../../examples/calc/calc.wasm"
	conformanceFile = "../../pdk/conformance/c/conformance.wasm"
)

// outcome is the output and exit code of a command.
type outcome struct {
	exit     int
	out, err string
}

// cli runs one command in this process.
func cli(t *testing.T, args ...string) outcome {
	t.Helper()
	return cliWith(t, "", args...)
}

func cliWith(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	var out, err bytes.Buffer
	exit := execute(t.Context(), args, strings.NewReader(stdin), &out, &err)
	return outcome{exit, out.String(), err.String()}
}

// locked is a buffer that a server writes to while a test reads.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startServer runs serve in this process until the test ends, and returns its URL.
func startServer(t *testing.T, args ...string) string {
	t.Helper()
	url, _ := startLogged(t, args...)
	return url
}

// startLogged is [startServer] with what the server logs.
func startLogged(t *testing.T, args ...string) (url string, errs *locked) {
	t.Helper()
	url, _, errs, _ = start(t, t.TempDir(), args...)
	return url, errs
}

// start runs serve on a data directory until it is stopped or the test ends. It returns its
// URL, what it has printed until it listened, and its log.
func start(t *testing.T, data string, args ...string) (url, printed string, errs *locked, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var out locked
	errs = &locked{}
	done := make(chan int, 1)
	go func() {
		done <- execute(ctx, append([]string{"serve", "--addr", "127.0.0.1:0", "--data", data}, args...), strings.NewReader(""), &out, errs)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		assert.Equal(t, exitOK, <-done, errs.String())
	})
	t.Cleanup(stop)
	require.Eventually(t, func() bool {
		before, rest, ok := strings.Cut(out.String(), "listening on ")
		printed, url = before, strings.TrimSpace(rest)
		return ok && strings.HasSuffix(rest, "\n")
	}, 20*time.Second, 5*time.Millisecond, "%v", errs)
	return url, printed, errs, stop
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	return file
}

func TestServerCommands(t *testing.T) {
	url := startServer(t, "--tenant", "acme")
	on := func(args ...string) outcome { return cli(t, append(args, "--server", url)...) }

	assert.Contains(t, on("ls").out, "no modules yet")
	assert.JSONEq(t, `{"modules":[]}`, on("ls", "-o", "json").out)
	up := on("upload", calcFile)
	require.Equal(t, exitOK, up.exit, up.err)
	assert.Equal(t, "module calc, revision 1, 10.1 KiB\n  calc/add\n  calc/echo\n", up.out)
	policy := write(t, "policy.json", `{"limits":{"timeoutMs":700}}`)
	up = on("upload", calcFile, "--policy", policy, "-o", "json")
	require.Equal(t, exitOK, up.exit, up.err)
	var rec struct{ Revision int }
	require.NoError(t, json.Unmarshal([]byte(up.out), &rec))
	assert.Equal(t, 2, rec.Revision)

	ls := on("ls")
	assert.Regexp(t, `(?m)^NAME +REVISION +VERSION +SIZE +DIGEST +UPLOADED +OFFERS +POLICY +STATE$`, ls.out)
	assert.Regexp(t, `(?m)^calc +2 +\S+ +10\.1 KiB +[0-9a-f]{12} .* +2 tools +no grants; limits timeoutMs +current$`, ls.out)
	assert.Regexp(t, `(?m)^tool +calc/add +Adds`, on("ls", "--actions").out)
	assert.Contains(t, on("ls", "--tenant", "acme").out, "no modules yet")
	assert.Regexp(t, `(?s)calc +2 .*current\ncalc +1 `, on("versions", "calc").out)
	assert.Equal(t, "module calc serves revision 1\n", on("rollback", "calc").out)
	assert.Equal(t, "module calc serves revision 2\n", on("rollback", "calc", "--revision", "2").out)
	assert.Equal(t, "module calc is removed\n", on("rm", "calc").out)

	for name, test := range map[string]struct {
		got  outcome
		exit int
		says string
	}{
		"a module that is not there":   {on("rm", "calc"), exitNotFound, `module "calc" does not exist`},
		"a tenant that is not there":   {on("ls", "--tenant", "nobody"), exitNotFound, `tenant "nobody"`},
		"a model that is not there":    {on("generate", "--model", "acme/none", "hi"), exitNotFound, "acme/none"},
		"a tool that is not there":     {on("generate", "--model", "test/scripted", "--tool", "none", "hi"), exitNotFound, "none"},
		"a file that is no module":     {on("upload", write(t, "x.wasm", "hello")), exitRefused, "not WebAssembly"},
		"a name that is none":          {on("upload", calcFile, "--name", "a b"), exitRefused, "module name"},
		"a module that asks for more":  {on("upload", extism(t, "http.wasm"), "--descriptor", write(t, "d.json", `{"abi":"genkit/1","tools":[{"name":"get","export":"run_test"}]}`)), exitRefused, "--policy FILE"},
		"a script that is too short":   {on("generate", "--model", "test/scripted", "--config", `{"script":[]}`, "hi"), exitFailed, "script"},
		"a server that is none":        {cli(t, "ls", "--server", "ftp://x"), exitUsage, "not a URL"},
		"a server that does not run":   {cli(t, "ls", "--server", "http://127.0.0.1:1"), exitUnreachable, "genkit-wasm serve"},
		"a file that is not there":     {on("upload", "no-such-file.wasm"), exitUsage, "no such file"},
		"a flag that is not there":     {on("ls", "--none"), exitUsage, "--none"},
		"a command that is not there":  {cli(t, "lss"), exitUsage, `unknown command "lss"`},
		"an argument too few":          {on("rm"), exitUsage, "accepts 1 arg"},
		"an output that is not known":  {on("ls", "-o", "yaml"), exitUsage, "yaml"},
		"no prompt":                    {on("generate"), exitUsage, "--prompt"},
		"two prompts":                  {on("generate", "a", "--prompt", "b"), exitUsage, "twice"},
		"a config that is not JSON":    {on("generate", "a", "--config", "{"), exitUsage, "--config"},
		"an address beyond loopback":   {cli(t, "serve", "--addr", "0.0.0.0:0", "--data", t.TempDir()), exitUsage, "other machines"},
		"an address without a host":    {cli(t, "serve", "--addr", ":3400", "--data", t.TempDir()), exitUsage, "other machines"},
		"a port that is taken":         {cli(t, "serve", "--addr", strings.TrimPrefix(url, "http://"), "--data", t.TempDir()), exitFailed, "--addr"},
		"a limit that is no such":      {cli(t, "serve", "--addr", "127.0.0.1:0", "--limits", `{"feul":1}`), exitUsage, "feul"},
		"a log format that is no such": {cli(t, "serve", "--addr", "127.0.0.1:0", "--log-format", "xml"), exitUsage, "--log-format"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.exit, test.got.exit, test.got.err)
			assert.Contains(t, test.got.err, test.says)
			assert.True(t, strings.HasPrefix(test.got.err, "error: "), test.got.err)
			assert.Empty(t, test.got.out)
		})
	}
	asJSON := on("rm", "calc", "-o", "json")
	var failure struct {
		Error struct {
			Status, Message, Hint string
			ExitCode              int `json:"exit_code"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(asJSON.err), &failure), asJSON.err)
	assert.Equal(t, "NOT_FOUND", failure.Error.Status)
	assert.Equal(t, exitNotFound, failure.Error.ExitCode)
}

// answers are those of a scripted model: a call of calc/add, then a text.
const answers = `{"script":[
	{"message":{"role":"model","content":[{"toolRequest":{"name":"add","ref":"1","input":{"a":20,"b":22}}}]}},
	{"message":{"role":"model","content":[{"text":"it is 42"}]}}]}`

func TestGenerate(t *testing.T) {
	url := startServer(t, "--load", filepath.Dir(calcFile), "--default-model", "test/scripted")
	on := func(stdin string, args ...string) outcome {
		return cliWith(t, stdin, append([]string{"generate", "--server", url}, args...)...)
	}
	assert.Equal(t, outcome{out: "You said: hi\n"}, on("", "hi"))
	assert.Equal(t, outcome{out: "You said: from a pipe\n"}, on("from a pipe", "--prompt", "-"))
	assert.Equal(t, outcome{out: "You said: <x> & y\n"}, on("", "--prompt", "@"+write(t, "p.txt", "<x> & y"), "--system", "be kind"))
	assert.Equal(t, outcome{out: "it is 42\n"}, on("", "20 + 22?", "--tool", "add", "--config", answers))
	assert.Equal(t, outcome{out: "it is 42\n"}, on("", "20 + 22?", "--tool", "add", "--config", answers, "--stream"))

	full := on("", "20 + 22?", "--tool", "add", "--config", answers, "-o", "json")
	assert.Contains(t, strings.Join(strings.Fields(full.out), ""), `"output":{"sum":42}`)
	lines := strings.Split(strings.TrimSpace(on("", "20 + 22?", "--tool", "add", "--config", answers, "-o", "json", "--stream").out), "\n")
	require.Greater(t, len(lines), 2)
	assert.Contains(t, lines[0], `"sum":42`, "the tool's answer is streamed")
	assert.True(t, strings.HasPrefix(lines[len(lines)-1], `{"result":`))

	returned := on("", "20 + 22?", "--tool", "add", "--config", answers, "--return-tool-requests")
	assert.Equal(t, exitOK, returned.exit)
	assert.Contains(t, returned.err, `tool request: {"toolRequest":{"name":"add"`)
	late := on("", "x", "--stream", "--tool", "add", "--config", strings.Replace(answers, `"a":20,`, ``, 1), "--max-turns", "1")
	assert.NotEqual(t, exitOK, late.exit, "%+v", late)
}

func TestDamagedModuleDoesNotKeepTheServerFromStarting(t *testing.T) {
	data := t.TempDir()
	var url string
	t.Run("before", func(t *testing.T) {
		url = startServer(t, "--data", data)
		for _, name := range []string{"good", "bad"} {
			require.Equal(t, exitOK, cli(t, "upload", calcFile, "--name", name, "--server", url).exit)
		}
	})
	record := filepath.Join(data, "modules", "tenants", "m-default", "m-bad", "1.record")
	raw, err := os.ReadFile(record)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(record, raw[:len(raw)/2], 0o600))

	url = startServer(t, "--data", data)
	assert.Regexp(t, `(?s)bad +1 .*problem: the stored record is damaged\ngood +1 .*current`, cli(t, "ls", "--server", url).out)
	assert.Equal(t, exitOK, cli(t, "upload", calcFile, "--name", "bad", "--server", url).exit)
	ls := cli(t, "ls", "--server", url).out
	assert.Regexp(t, `bad +2 `, ls)
	assert.NotContains(t, ls, "problem")
	assert.Equal(t, exitFailed, cli(t, "rollback", "bad", "--server", url).exit, "the damaged revision can't be served")
}
