package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/guestbuild"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// What keeps a command from its server decides the exit code and the advice.
func TestWhyNoServerAnswers(t *testing.T) {
	a := &app{server: "http://x"}
	for name, test := range map[string]struct {
		err  error
		says string
		hint string
	}{
		"it refuses":          {syscall.ECONNREFUSED, "no server answers at http://x", "genkit-wasm serve"},
		"it hangs up":         {syscall.ECONNRESET, "http://x closed the connection before it answered", "whether the command has taken effect is not known"},
		"it ends":             {io.ErrUnexpectedEOF, "closed the connection", "not known"},
		"it ends when idle":   {errors.New("http: server closed idle connection"), "closed the connection", "not known"},
		"another name":        {x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}, "can't be trusted", "by a name that its certificate is for"},
		"an unknown signer":   {x509.UnknownAuthorityError{}, "can't be trusted", "login --ca FILE"},
		"one who has expired": {x509.CertificateInvalidError{Reason: x509.Expired}, "no server answers", ""},
	} {
		err := a.unreachable(t.Context(), &url.Error{Op: "Get", URL: "http://x", Err: test.err})
		var f *failure
		require.ErrorAs(t, err, &f, name)
		assert.Equal(t, exitUnreachable, f.exit, name)
		assert.Contains(t, f.text, test.says, name)
		assert.Contains(t, f.hint, test.hint, name)
		assert.NotContains(t, f.text, "Get ", "%s: the request is not the user's", name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, a.unreachable(ctx, syscall.ECONNREFUSED), context.Canceled)
}

// Times until something ends are durations, in days too, or points.
func TestTimesThatAreToCome(t *testing.T) {
	now := time.Date(2030, 1, 31, 12, 0, 0, 5, time.UTC)
	for text, want := range map[string]time.Time{
		"": {}, "2030-02-01T00:00:00Z": time.Date(2030, 2, 1, 0, 0, 0, 0, time.UTC), "12h": now.Add(12 * time.Hour).Truncate(time.Second), "90d": now.AddDate(0, 0, 90).Truncate(time.Second),
	} {
		at, err := expiry(text, now)
		require.NoError(t, err, text)
		assert.True(t, want.Equal(at), "%q: %v", text, at)
	}
	for _, text := range []string{"x", "-1h", "0s", "d", "-1d", "70000d", "2030-02-01"} {
		_, err := expiry(text, now)
		assert.ErrorContains(t, err, "--expires is", text)
	}
	assert.Equal(t, "-", shortTime(time.Time{}))
}

// A host of --allow-host is a name or an address, with a scheme and a port of its own.
func TestHostsThatAreAllowed(t *testing.T) {
	for text, want := range map[string]string{
		"api.example.com":       `{"host":"api.example.com","schemes":["https"],"methods":["*"]} api.example.com`,
		"http://localhost:8080": `{"host":"localhost","schemes":["http"],"methods":["*"],"ports":[8080]} http://localhost:8080`,
		"[2001:db8::1]":         `{"host":"[2001:db8::1]","schemes":["https"],"methods":["*"]} [2001:db8::1]`,
		"https://[::1]:8443":    `{"host":"[::1]","schemes":["https"],"methods":["*"],"ports":[8443]} https://[::1]:8443`,
		"*":                     `{"host":"*","schemes":["https"],"methods":["*"]} `,
		"*.example.com":         `{"host":"*.example.com","schemes":["https"],"methods":["*"]} *.example.com`,
		"":                      "", "http://": "", "a.b:0": "", "a.b:99999": "", "a.b:x": "", ":80": "",
	} {
		grant, origin, err := allowedHost(text)
		if want == "" {
			assert.ErrorContains(t, err, "want a host such as", text)
			continue
		}
		require.NoError(t, err, text)
		raw, err := json.Marshal(grant)
		require.NoError(t, err)
		body, wantOrigin, _ := strings.Cut(want, "} ")
		assert.JSONEq(t, body+"}", string(raw), text)
		assert.Equal(t, wantOrigin, origin, text)
	}
	for host, want := range map[string][]netip.Prefix{
		"localhost": {netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}, "10.0.0.1": {netip.MustParsePrefix("10.0.0.1/32")},
		"[::1]": {netip.MustParsePrefix("::1/128")}, "::ffff:10.0.0.1": {netip.MustParsePrefix("10.0.0.1/32")}, "example.com": nil, "*": nil,
	} {
		assert.Equal(t, want, thisMachine(host), host)
	}
}

// What a module holds is told in one line each, and what is long is cut.
func TestFactsAreShort(t *testing.T) {
	assert.Equal(t, "none", list(nil))
	assert.Equal(t, "a, b", list([]string{"a", "b"}))
	assert.Equal(t, strings.Repeat("x, ", 11)+"x and 3 more (-o json shows all)", list(strings.Split(strings.Repeat("x", 15), "")))
	assert.Equal(t, "code 1.0 KiB, data 3 B", sectionList([]wasmhost.Section{{Name: "code", Bytes: 1024}, {Name: "data", Bytes: 3}}))
	assert.Equal(t, [2]string{"tool", "add  Adds two"}, described("tool", "add", "Adds\ntwo"))
	assert.Equal(t, [2]string{"tool", "add"}, described("tool", "add", ""))
	for raw, want := range map[string]string{"": "-", "7": "-", "{}": "no grants", `{"grants":{"kv":true,"http":[]},"limits":{"b":1,"a":2}}`: "http, kv; limits a, b", `{"limits":{"a":2}}`: "no grants; limits a"} {
		assert.Equal(t, want, policySummary(json.RawMessage(raw)), raw)
	}
	for key, want := range map[string]string{"/tool/calc/add": "calc/add", "/tool.v2/calc/add": "calc/add", "/middleware/guard/redact": "middleware guard/redact"} {
		assert.Equal(t, want, offer(key))
	}
	for name, want := range map[string]string{"add": "/tools/add", "/tool/calc/add": "/tools/calc/add", "/embedder/a b/e": "/actions/embedder/a%20b/e"} {
		assert.Equal(t, want, runPath(name))
	}
	assert.JSONEq(t, `{"a":1}`, string(compact(json.RawMessage("{\n\"a\": 1}"))))
	assert.Equal(t, "{", string(compact(json.RawMessage("{"))), "what is no JSON stays")
	found := find("f", &wasmhost.Analysis{Linkage: &abi.Linkage{}, Exports: []string{"a\x1b[2J"}})
	assert.Equal(t, []string{abi.Line("a\x1b[2J", 80)}, found.Exports)
	assert.NotContains(t, found.Exports[0], "\x1b", "a module's names don't steer the terminal")
}

// Why a build failed decides the exit code: what is missing comes with the way to get it.
func TestWhyABuildFailed(t *testing.T) {
	for want, err := range map[string]error{
		"1 clang is not installed; install it": &guestbuild.MissingError{What: "clang is not installed", Fix: "install it"},
		"2 no sources: x; ":                    fmt.Errorf("%w: x", guestbuild.ErrNoSources),
		"2 file does not exist; ":              os.ErrNotExist,
		"1 exit status 1; ":                    errors.New("exit status 1\n"),
	} {
		var f *failure
		require.ErrorAs(t, notBuilt(err), &f)
		if errors.Is(err, guestbuild.ErrNoSources) {
			assert.Equal(t, exitUsage, f.exit)
			continue
		}
		assert.Equal(t, want, fmt.Sprintf("%d %s; %s", f.exit, f.text, f.hint))
	}
	for name, want := range map[string]string{"greeter": "greeter", "a b": "module"} {
		dir := filepath.Join(t.TempDir(), name)
		assert.Equal(t, want, (&artifact{analysis: &wasmhost.Analysis{}}).name(dir))
		assert.Equal(t, "own", (&artifact{analysis: &wasmhost.Analysis{Descriptor: &abi.Descriptor{Name: "own"}}}).name(dir))
	}
}

// A file is replaced as a whole or not at all, and nothing is left beside it.
func TestFilesAreReplacedWhole(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.wasm")
	for _, text := range []string{"one", "two"} {
		require.NoError(t, writeWhole(file, []byte(text)))
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, text, string(raw))
	}
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "full", "x"), 0o700))
	require.Error(t, writeWhole(filepath.Join(dir, "full"), nil), "a directory is in its place")
	require.Error(t, writeWhole(filepath.Join(dir, "none", "x"), nil))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, left, 2)
}

// The user who runs a module here is told what its refusal takes.
func TestRefusalsComeWithAdvice(t *testing.T) {
	plain := refusedModule(status.Publicf(status.InvalidArgument, "no module; send a binary").WithDetails(map[string]string{"hint": "send a binary"}))
	var f *failure
	require.ErrorAs(t, plain, &f)
	assert.Equal(t, []any{exitRefused, "no module", "send a binary"}, []any{f.exit, f.text, f.hint})
	require.ErrorAs(t, refusedModule(status.Publicf(status.PermissionDenied, "it needs http")), &f)
	assert.Contains(t, f.hint, "--policy FILE")
	own := usagef("x")
	assert.Equal(t, own, refusedModule(own), "what is not the module's stays")
	require.NoError(t, refusedModule(nil))

	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorAs(t, callFailure(ctx, status.Publicf(status.ResourceExhausted, "the fuel is used up")), &f)
	assert.Equal(t, exitFailed, f.exit, "here nothing gets better by waiting")
	assert.Contains(t, f.hint, `{"limits": {…}}`)
	cancel()
	assert.ErrorIs(t, callFailure(ctx, status.Publicf(status.Internal, "x")), context.Canceled)
}

// A descriptor that only running a module tells is put into its section, and the module is judged with it.
func TestADescriptorIsPutIntoTheModule(t *testing.T) {
	wasm, err := os.ReadFile(extism(t, "count_vowels.wasm"))
	require.NoError(t, err)
	told, err := wasmhost.Analyze(wasm, []byte(vowels), wasmhost.UploadLimits{})
	require.NoError(t, err)
	made := &artifact{upload: wasmhost.Upload{Wasm: wasm}, analysis: told}
	require.NoError(t, (&app{}).embed(made))
	assert.Equal(t, "section", made.analysis.DescriptorIn)
	assert.Equal(t, "vowels", made.analysis.Descriptor.Name)
	assert.Greater(t, len(made.upload.Wasm), len(wasm))
	found, err := wasmhost.Analyze(made.upload.Wasm, nil, wasmhost.UploadLimits{})
	require.NoError(t, err)
	assert.Equal(t, "count_vowels", found.Descriptor.Tools[0].Export)

	made = &artifact{upload: wasmhost.Upload{Wasm: wasm}, analysis: &wasmhost.Analysis{Descriptor: &abi.Descriptor{Name: "a b"}}}
	err = (&app{}).embed(made)
	var f *failure
	require.ErrorAs(t, err, &f, "what it tells is checked")
	assert.Equal(t, exitRefused, f.exit)
	long := &artifact{analysis: &wasmhost.Analysis{Descriptor: &abi.Descriptor{Description: strings.Repeat("x", abi.MaxDescriptorBytes)}}}
	require.NoError(t, (&app{}).embed(long))
	assert.Empty(t, long.upload.Wasm, "one that does not fit stays in the export")
}
