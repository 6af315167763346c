package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/datadir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
)

// Each status of a server has an exit code, also where the answer is a stream or a flow's.
func TestFailuresOfEveryKindHaveTheirExitCode(t *testing.T) {
	for name, test := range map[string]struct {
		code   int
		status string
		exit   int
		upload int // where a module was to be checked
	}{
		"what is malformed":      {400, "INVALID_ARGUMENT", exitFailed, exitRefused},
		"a key that is missing":  {401, "UNAUTHENTICATED", exitFailed, exitFailed},
		"what is not allowed":    {403, "PERMISSION_DENIED", exitFailed, exitRefused},
		"what is not there":      {404, "NOT_FOUND", exitNotFound, exitNotFound},
		"no such method":         {405, "UNIMPLEMENTED", exitFailed, exitRefused},
		"what is there":          {409, "ALREADY_EXISTS", exitFailed, exitFailed},
		"a change in between":    {409, "ABORTED", exitFailed, exitFailed},
		"another ETag":           {412, "FAILED_PRECONDITION", exitFailed, exitRefused},
		"a body that is long":    {413, "INVALID_ARGUMENT", exitFailed, exitRefused},
		"a change without ETag":  {428, "FAILED_PRECONDITION", exitFailed, exitRefused},
		"a limit":                {429, "RESOURCE_EXHAUSTED", exitBusy, exitBusy},
		"a failure":              {500, "INTERNAL", exitFailed, exitFailed},
		"a server that is busy":  {503, "UNAVAILABLE", exitBusy, exitBusy},
		"a call that takes long": {504, "DEADLINE_EXCEEDED", exitFailed, exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			_, on := startStandIn(t, answer(test.code, problem(test.code, test.status, "the detail of it")))
			for _, args := range [][]string{
				{"ls"},
				{"ls", "--actions"},
				{"versions", "m"},
				{"rollback", "m"},
				{"rm", "m"},
				{"call", "a/b"},
				{"call", "a/b", "--stream"},
				{"generate", "hi"},
				{"generate", "hi", "--stream"},
				{"tenant", "ls"},
				{"tenant", "create", "x"},
				{"tenant", "set", "x", "--group", "g"},
				{"tenant", "suspend", "x"},
				{"tenant", "rm", "x"},
				{"tenant", "operations"},
				{"tenant", "operations", "x"},
				{"key", "ls"},
				{"key", "create", "x", "--scope", "admin"},
				{"key", "rotate", "aaaaaaaaaaaaaaaa"},
				{"key", "revoke", "x"},
				{"secret", "ls"},
				{"secret", "rm", "x"},
				{"credential", "ls"},
				{"usage"},
				{"usage", "--tenant", "x"},
				{"audit"},
				{"backup", "-"},
			} {
				got := on(args...)
				assert.Equal(t, test.exit, got.exit, args)
				assert.True(t, strings.HasPrefix(got.err, "error: the detail of it\n"), "%v: %s", args, got.err)
				assert.Empty(t, got.out, args)
			}
			assert.Equal(t, test.upload, on("upload", calcFile).exit)
			var told struct {
				Error struct {
					Status, Message string
					RequestID       string `json:"request_id"`
					ExitCode        int    `json:"exit_code"`
				}
			}
			require.NoError(t, json.Unmarshal([]byte(on("ls", "-o", "json").err), &told))
			assert.Equal(t, []any{test.status, "the detail of it", "r-1", test.exit}, []any{told.Error.Status, told.Error.Message, told.Error.RequestID, told.Error.ExitCode})

			_, on = startStandIn(t, answer(test.code, fmt.Sprintf(`{"error":{"status":%q,"message":"the detail of it"}}`, test.status)))
			flow := on("flow", "menu")
			assert.NotEqual(t, exitOK, flow.exit)
			assert.Empty(t, flow.out)
		})
	}
}

// A stream is printed as it comes: for people the text, for programs each frame on a line.
func TestStreamsArePrintedAsTheyCome(t *testing.T) {
	frames := func(lines ...string) http.HandlerFunc {
		return answer(http.StatusOK, "data: "+strings.Join(lines, "\n\ndata: ")+"\n\n", "Content-Type: text/event-stream")
	}
	chunk := func(text string) string { return `{"message":{"role":"model","content":[{"text":"` + text + `"}]}}` }
	const result = `{"result":{"message":{"role":"model","content":[{"text":"hello"},{"toolRequest":{"name":"add","ref":"1"}}]},"finishReason":"interrupted","finishMessage":"it asks"}}`
	for name, test := range map[string]struct {
		args   []string
		answer http.HandlerFunc
		out    string
		err    string
	}{
		"text in chunks":    {[]string{"generate", "hi", "--stream"}, frames(chunk("hel"), chunk("lo"), result), "hello\n", "tool request: {\"toolRequest\":{\"name\":\"add\",\"ref\":\"1\"}}\nfinish reason: interrupted it asks\n"},
		"text at once":      {[]string{"generate", "hi", "--stream"}, frames(`{"result":{"message":{"content":[{"text":"hello"}]}}}`), "hello\n", ""},
		"no text":           {[]string{"generate", "hi", "--stream"}, frames(`{"result":{"finishReason":"stop"}}`), "", ""},
		"frames":            {[]string{"generate", "hi", "--stream", "-o", "json"}, frames(chunk("h"), `{"result":{}}`), chunk("h") + "\n{\"result\":{}}\n", ""},
		"a tool's frames":   {[]string{"call", "a/b", "--stream"}, frames(`{"message":1}`, `{"result":2}`), "{\"message\":1}\n{\"result\":2}\n", ""},
		"a tool that asks":  {[]string{"call", "a/b", "--stream"}, frames(`{"interrupt":{"why":1}}`), "{\"interrupt\":{\"why\":1}}\n", ""},
		"what is no stream": {[]string{"call", "a/b"}, answer(http.StatusOK, `{"interrupt": {"why": 1}}`), "{\"interrupt\":{\"why\":1}}\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, on := startStandIn(t, test.answer)
			assert.Equal(t, outcome{out: test.out, err: test.err}, on(test.args...))
		})
	}
	for says, test := range map[string]struct {
		args   []string
		answer http.HandlerFunc
	}{
		"what is not a chunk":    {[]string{"generate", "hi", "--stream"}, frames(`{"message":7}`)},
		"not a GenerateResponse": {[]string{"generate", "hi", "--stream"}, frames(`{"result":7}`)},
		"is not a tool's result": {[]string{"call", "a/b"}, answer(http.StatusOK, `7`)},
		"a GenerateResponse":     {[]string{"generate", "hi"}, answer(http.StatusOK, `7`)},
		"not as expected":        {[]string{"key", "create", "x", "--scope", "admin"}, answer(http.StatusOK, `7`)},
		"not an operation":       {[]string{"tenant", "rm", "x"}, answer(http.StatusOK, `7`)},
		"is not a tenant":        {[]string{"tenant", "resume", "x"}, answer(http.StatusOK, `7`)},
	} {
		_, on := startStandIn(t, test.answer)
		got := on(test.args...)
		assert.Equal(t, exitFailed, got.exit, says)
		assert.Contains(t, got.err, says)
	}
}

// A command whose output nobody takes fails, and does not go on.
func TestAnOutputThatBreaks(t *testing.T) {
	for text, answered := range map[string]string{
		"ls": `{"modules":[]}`, "key ls": `{"keys":[]}`, "tenant ls -o json": `{"tenants":[]}`, "call a/b": `{"result":1}`, "generate hi": `{"message":{"content":[{"text":"x"}]}}`,
		"version": "", "new": "", "config show": "", "config check": "",
	} {
		args := strings.Fields(text)
		if answered != "" {
			s, _ := startStandIn(t, answer(http.StatusOK, answered))
			args = append(args, "--server", s.url)
		}
		var errs strings.Builder
		exit := execute(t.Context(), args, strings.NewReader(""), unwritable{}, &errs)
		assert.Equal(t, exitFailed, exit, args)
		assert.Contains(t, errs.String(), io.ErrClosedPipe.Error(), args)
	}
}

// unwritable is an output that takes nothing.
type unwritable struct{}

func (unwritable) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// An answer is not read for ever.
func TestAnAnswerThatIsTooLong(t *testing.T) {
	_, on := startStandIn(t, func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 1<<20)
		for range maxAnswer>>20 + 1 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	got := on("ls")
	assert.Equal(t, exitFailed, got.exit)
	assert.Contains(t, got.err, "it is longer than 67108864 bytes")
}

// A server that only speaks HTTPS says so to who does not, and so does the command.
func TestAServerThatSpeaksHTTPS(t *testing.T) {
	_, on := startStandIn(t, answer(http.StatusBadRequest, "Client sent an HTTP request to an HTTPS server.\n"))
	got := on("ls")
	assert.Equal(t, exitUsage, got.exit)
	assert.Equal(t, "error: URL speaks HTTPS: name it with https://\n       see genkit-wasm ls --help\n", got.err)
}

// The certificates of --ca and its variable are read before anything is sent.
func TestCertificatesAreRead(t *testing.T) {
	for _, file := range []string{write(t, "ca.pem", "no certificate"), filepath.Join(t.TempDir(), "none")} {
		t.Setenv(caEnv, file)
		s, on := startStandIn(t, answer(http.StatusOK, `{"modules":[]}`))
		got := on("ls")
		assert.Equal(t, exitUsage, got.exit, got.err)
		assert.Contains(t, got.err, file)
		assert.Empty(t, s.asked)
	}
	cert, _ := certificate(t, t.TempDir(), 1)
	t.Setenv(caEnv, cert)
	_, on := startStandIn(t, answer(http.StatusOK, `{"modules":[]}`))
	assert.Equal(t, exitOK, on("ls").exit, "which plain HTTP does not need")
}

// The audit log of a directory is checked without its server.
func TestAnAuditLogIsVerified(t *testing.T) {
	data := t.TempDir()
	l, err := audit.Open(auditDir(data), audit.Config{})
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, note(l, "setting", "--x"))
	}
	require.NoError(t, l.Close())
	whole := cli(t, "audit", "verify", "--data", data)
	assert.Regexp(t, `^3 entries, 1 to 3, are as they were written; the last has the hash [0-9a-f]{64}\n$`, whole.out)
	hash := whole.out[len(whole.out)-65 : len(whole.out)-1]
	assert.Equal(t, exitOK, cli(t, "audit", "verify", "--data", data, "--known", hash).exit)
	var told map[string]any
	require.NoError(t, json.Unmarshal([]byte(cli(t, "audit", "verify", "--data", data, "-o", "json").out), &told))
	assert.Equal(t, hash, told["hash"])
	assert.EqualValues(t, 3, told["entries"])
	lost := cli(t, "audit", "verify", "--data", data, "--known", strings.Repeat("f", 64))
	assert.Equal(t, exitFailed, lost.exit)
	files, err := filepath.Glob(filepath.Join(auditDir(data), "*.log"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	raw, err := os.ReadFile(files[0])
	require.NoError(t, err)
	raw[len(raw)/2] ^= 1
	require.NoError(t, os.WriteFile(files[0], raw, 0o600))
	damaged := cli(t, "audit", "verify", "--data", data)
	assert.Equal(t, exitFailed, damaged.exit)
	assert.Contains(t, damaged.err, "the audit log is not whole")
	_, err = openAudit(data, 0, nil, nil)
	assert.ErrorContains(t, err, "is damaged")
	tried := cli(t, "audit", "repair", "--data", data, "--dry-run")
	assert.Contains(t, tried.out, "would be set aside: ")
	assert.FileExists(t, files[0])
	repaired := cli(t, "audit", "repair", "--data", data)
	assert.Equal(t, exitOK, repaired.exit, repaired.err)
	assert.Contains(t, repaired.out, "The log goes on after entry 0")
	again := cli(t, "audit", "verify", "--data", data)
	assert.Equal(t, exitOK, again.exit, again.err)
	assert.Contains(t, again.out, "1 files were set aside")
	l, err = openAudit(data, 0, nil, nil)
	require.NoError(t, err, "and a server starts")
	require.NoError(t, l.Close())
	assert.Equal(t, exitFailed, cli(t, "audit", "repair", "--data", data).exit, "nothing is left to repair")
	assert.Equal(t, exitUsage, cli(t, "audit", "repair", "--data", "/nowhere").exit)
}

// A start, and a key that is made without a server, tell of an audit log that was removed, and repair says that there is none.
func TestAnAuditLogThatWasRemovedIsTold(t *testing.T) {
	data := t.TempDir()
	remove := func() {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(auditDir(data), "*.log"))
		require.NoError(t, err)
		require.Len(t, files, 1)
		require.NoError(t, os.Remove(files[0]))
	}
	var told strings.Builder
	start := func() string {
		t.Helper()
		told.Reset()
		l, err := openAudit(data, 0, nil, slog.New(slog.NewTextHandler(&told, nil)))
		require.NoError(t, err)
		require.NoError(t, l.Close())
		return told.String()
	}
	create := func() string {
		t.Helper()
		got := cli(t, "key", "create", "ci", "--data", data, "--scope", "admin")
		require.Equal(t, exitOK, got.exit, got.err)
		return got.err
	}
	const lost = "the data directory is not new and has no audit log"
	assert.NotContains(t, start(), lost, "the directory is new")
	remove()
	assert.NotContains(t, start(), lost, "nothing else is there")
	assert.NotContains(t, create(), lost)
	assert.NotContains(t, start(), lost, "the log is there")
	remove()
	for _, dry := range []string{"--dry-run=true", "--dry-run=false"} {
		got := cli(t, "audit", "repair", "--data", data, dry)
		assert.Equal(t, exitFailed, got.exit)
		assert.Contains(t, got.err, "there is no audit log")
		assert.Contains(t, got.err, "begins a new one")
	}
	text := start()
	assert.Contains(t, text, "level=ERROR")
	assert.Contains(t, text, lost)
	assert.NotContains(t, start(), lost, "it is told once")
	remove()
	assert.Contains(t, create(), lost)
}

// A part of the data directory that is a link would be served, and be in no backup.
func TestAPartThatIsALinkIsRefused(t *testing.T) {
	data := t.TempDir()
	link := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.Symlink(data, link))
	assert.Equal(t, exitOK, cli(t, "config", "check", "--data", link).exit, "the data directory itself may be a link")
	for _, part := range datadir.Parts() {
		at := filepath.Join(data, part)
		require.NoError(t, os.Symlink(t.TempDir(), at))
		for _, args := range [][]string{{"serve", "--addr", "127.0.0.1:0"}, {"config", "check"}, {"backup", filepath.Join(t.TempDir(), "b.tar")}} {
			got := cli(t, append(args, "--data", data)...)
			assert.NotEqual(t, exitOK, got.exit, args)
			assert.Contains(t, got.err, "is a symbolic link", args)
			assert.Contains(t, got.err, "make the data directory itself the link", args)
		}
		require.NoError(t, os.Remove(at))
	}
	assert.Equal(t, exitOK, cli(t, "config", "check", "--data", data).exit)
}

// Where a server may listen is decided before the port is opened.
func TestWhereAServerMayListen(t *testing.T) {
	for name, test := range map[string]struct {
		flags networkFlags
		addr  string
		hosts []string
		says  string
	}{
		"no port":             {networkFlags{}, "127.0.0.1", nil, "want HOST:PORT"},
		"everywhere":          {networkFlags{}, ":0", nil, "without a login"},
		"with keys, in clear": {networkFlags{auth: true}, "0.0.0.0:0", []string{"x"}, "in the clear"},
		"without a name":      {networkFlags{auth: true, plain: true}, "0.0.0.0:0", nil, "by which name"},
		"here":                {networkFlags{}, "127.0.0.1:0", nil, ""},
		"here, by name":       {networkFlags{}, "localhost:0", nil, ""},
		"beyond, in clear":    {networkFlags{auth: true, plain: true}, "0.0.0.0:0", []string{"x"}, ""},
	} {
		l, err := test.flags.listen(t.Context(), test.addr, test.hosts)
		if test.says != "" {
			assert.ErrorContains(t, err, test.says, name)
			continue
		}
		require.NoError(t, err, name)
		_, bound := l.Addr().(*net.TCPAddr)
		assert.True(t, bound, name)
		require.NoError(t, l.Close())
	}
}
