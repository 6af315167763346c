package mcp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/mcp"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// logs keeps what is logged.
type logs struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// stdio is a server that is this test binary, of a kind.
func stdio(t *testing.T, kind string) mcp.ServerConfig {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return mcp.ServerConfig{Command: self, Env: map[string]string{peerVariable: kind, "MCP_TEST_TOKEN": "a-very-secret-token"}}
}

// host is a registry with a host of servers, closed when the test ends.
func host(t *testing.T, c mcp.HostConfig) (*mcp.Host, *registry.Registry) {
	t.Helper()
	h, err := mcp.NewHost(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	reg := registry.New(nil)
	require.NoError(t, reg.AddProvider(h))
	return h, reg
}

// run runs the tool of a reference.
func run(ctx context.Context, reg *registry.Registry, ref, in string) (*tool.Multipart, error) {
	a, err := reg.Resolve(ctx, registry.ProviderPrefix+ref, action.Tool, action.ToolV2)
	if err != nil {
		return nil, err
	}
	out, err := a.RunJSON(ctx, json.RawMessage(in), nil)
	if err != nil {
		return nil, err
	}
	return tool.ParseMultipart(ref, out)
}

func names(descs []action.Desc) (all []string) {
	for _, d := range descs {
		all = append(all, d.Key().String())
	}
	return all
}

// both runs a test against a server of a kind on each transport.
func both(t *testing.T, kind string, test func(t *testing.T, s mcp.ServerConfig)) {
	t.Run("stdio", func(t *testing.T) { test(t, stdio(t, kind)) })
	t.Run("http json", func(t *testing.T) {
		test(t, mcp.ServerConfig{URL: serveHTTP(t, newPeer(strings.TrimSpace("plain "+kind)))})
	})
	t.Run("http events", func(t *testing.T) { test(t, mcp.ServerConfig{URL: serveHTTP(t, newPeer(kind))}) })
}

func TestAServersToolsPromptsAndResourcesAreActions(t *testing.T) {
	both(t, "events", func(t *testing.T, s mcp.ServerConfig) {
		_, reg := host(t, mcp.HostConfig{Servers: map[string]mcp.ServerConfig{"fs": s}})
		ctx := t.Context()
		all, found, err := reg.Expand(ctx, "mcp:tool/fs/*", action.Tool, action.ToolV2)
		require.NoError(t, err)
		require.True(t, found)
		require.Len(t, all, 18)
		assert.Equal(t, "/dynamic-action-provider/mcp:tool.v2/fs/ask", all[0].Key)

		a, err := reg.Resolve(ctx, "/dynamic-action-provider/mcp:tool/fs/echo", action.Tool, action.ToolV2)
		require.NoError(t, err)
		d := a.Desc()
		assert.Equal(t, "Echoes.", d.Description)
		assert.JSONEq(t, `{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}`, string(d.InputSchema))
		assert.JSONEq(t, `{"server":"fs","name":"echo","_meta":{}}`, string(d.Metadata["mcp"]))
		_, err = a.RunJSON(ctx, json.RawMessage(`{}`), nil)
		require.ErrorIs(t, err, status.ErrInvalidArgument, "the server is not asked with what breaks its schema")

		for ref, want := range map[string]string{
			"echo": `"hi"`, "sum": `{"sum":9007199254740993}`, "fail": `{"error":"no such file"}`, "picture": `"see"`,
			"link": `"resource: passwords <file:///etc/passwd>"`, "hidden": `"a[2Kbcd"`,
		} {
			got, err := run(ctx, reg, "mcp:tool/fs/"+ref, `{"text":"hi"}`)
			require.NoError(t, err, ref)
			assert.Equal(t, want, string(got.Output), ref)
			if ref == "picture" {
				require.Len(t, got.Content, 1)
				assert.Equal(t, content.Media{URL: "data:image/png;base64,aGk=", ContentType: "image/png"}, *got.Content[0].Media)
			}
		}
		got, err := run(ctx, reg, "mcp:tool/fs/echo", `{"text":"{\"n\": 12345678901234567890}"}`)
		require.NoError(t, err)
		assert.Equal(t, `{"n":12345678901234567890}`, string(got.Output), "text that is JSON, as in Genkit")

		greet, err := reg.Resolve(ctx, "/dynamic-action-provider/mcp:prompt/fs/greet", action.Prompt)
		require.NoError(t, err)
		assert.JSONEq(t, `{"type":"object","properties":{"who":{"type":"string","description":""}},"required":["who"]}`, string(greet.Desc().InputSchema))
		raw, err := greet.RunJSON(ctx, json.RawMessage(`{"who":"Ada"}`), nil)
		require.NoError(t, err)
		var request model.Request
		require.NoError(t, json.Unmarshal(raw, &request))
		require.Len(t, request.Messages, 2)
		assert.Contains(t, request.Messages[0].Text(), `"Ada"`)
		assert.Equal(t, content.RoleModel, request.Messages[1].Role)

		for ref, uri := range map[string]string{"the note": "note://1", "notes": "note://7/text"} {
			note, err := reg.Resolve(ctx, "/dynamic-action-provider/mcp:resource/fs/"+ref, action.Resource)
			require.NoError(t, err)
			parts, err := resource.Read(ctx, note, uri)
			require.NoError(t, err)
			assert.Contains(t, content.TextOf(parts), uri)
		}
	})
}

func TestAResultIsHeldToItsSchema(t *testing.T) {
	_, reg := host(t, mcp.HostConfig{Servers: map[string]mcp.ServerConfig{"fs": stdio(t, "events")}})
	_, err := run(t.Context(), reg, "mcp:tool/fs/wrong", `{}`)
	require.ErrorIs(t, err, status.ErrInternal)
	assert.ErrorContains(t, err, "breaks its schema")
}

func TestWhatAServerRefusesIsItsErrorWithoutItsSecrets(t *testing.T) {
	_, reg := host(t, mcp.HostConfig{Servers: map[string]mcp.ServerConfig{"fs": stdio(t, "events")}})
	_, err := run(t.Context(), reg, "mcp:tool/fs/refuse", `{}`)
	assert.Equal(t, `UNKNOWN: MCP server "fs": refused with [redacted]`, err.Error())
}

func TestAProcessSeesAFewVariablesOnly(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-secret")
	t.Setenv("LC_ALL", "C")
	_, reg := host(t, mcp.HostConfig{Servers: map[string]mcp.ServerConfig{"fs": stdio(t, "events")}})
	got, err := run(t.Context(), reg, "mcp:tool/fs/env", `{}`)
	require.NoError(t, err)
	assert.NotContains(t, string(got.Output), "sk-secret")
	assert.Contains(t, string(got.Output), "LC_ALL=C")
	assert.Contains(t, string(got.Output), "MCP_TEST_TOKEN=a-very-secret-token")
	assert.Contains(t, string(got.Output), "PATH=")
}

func TestAServerThatEndsIsStartedAgain(t *testing.T) {
	_, reg := host(t, mcp.HostConfig{Servers: map[string]mcp.ServerConfig{"fs": stdio(t, "events")}})
	ctx := t.Context()
	_, err := run(ctx, reg, "mcp:tool/fs/die", `{}`)
	require.ErrorIs(t, err, status.ErrUnavailable)
	require.Eventually(t, func() bool { // its end is noticed
		got, err := run(ctx, reg, "mcp:tool/fs/echo", `{"text":"hi"}`)
		return err == nil && string(got.Output) == `"hi"`
	}, 5*time.Second, 10*time.Millisecond)

	_, err = run(ctx, reg, "mcp:tool/fs/die", `{}`)
	require.ErrorIs(t, err, status.ErrUnavailable)
	require.Eventually(t, func() bool { // one that does so again is given time
		_, err := run(ctx, reg, "mcp:tool/fs/echo", `{"text":"hi"}`)
		return err != nil && strings.Contains(err.Error(), "soon after its start") && status.Convert(err).RetryAfter > 0
	}, 5*time.Second, time.Millisecond)
}

func TestABrokenServerIsAnErrorOfItsOwn(t *testing.T) {
	l := &logs{}
	h, reg := host(t, mcp.HostConfig{
		ConnectTimeout: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(l, nil)),
		Servers: map[string]mcp.ServerConfig{
			"good": stdio(t, "events"), "absent": {Command: "no-such-program-" + t.Name()},
			"hangs": stdio(t, "hang initialize"), "closed": {URL: "http://127.0.0.1:1/mcp"}, "off": {Command: "x", Disabled: true},
		},
	})
	ctx := t.Context()
	all, found, err := reg.Expand(ctx, "mcp:tool/good/*", action.Tool, action.ToolV2)
	require.NoError(t, err)
	require.True(t, found)
	assert.Len(t, all, 18)
	_, err = run(ctx, reg, "mcp:tool/absent/x", `{}`)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.ErrorContains(t, err, `MCP server "absent": the program "no-such-program-`)
	_, err = run(ctx, reg, "mcp:tool/closed/x", `{}`)
	require.ErrorIs(t, err, status.ErrUnavailable)
	_, err = run(ctx, reg, "mcp:tool/hangs/x", `{}`)
	require.ErrorIs(t, err, status.ErrUnavailable)
	assert.ErrorContains(t, err, "did not answer within 2s")
	_, err = run(ctx, reg, "mcp:tool/off/x", `{}`)
	require.ErrorIs(t, err, status.ErrNotFound)

	begun := time.Now() // in the time after a failure nobody waits
	for _, server := range []string{"absent", "closed", "hangs"} {
		if server != "hangs" {
			_, _, err = reg.Expand(ctx, "mcp:tool/"+server+"/*", action.Tool)
			require.Error(t, err)
		}
		_, _, err = reg.Expand(ctx, "mcp:tool/"+server+"/*", action.Tool)
		require.Error(t, err)
		assert.Positive(t, status.Convert(err).RetryAfter)
	}
	assert.Less(t, time.Since(begun), time.Second)

	descs, err := h.List(ctx)
	assert.Len(t, descs, 18+3)
	for _, server := range []string{"absent", "closed", "hangs"} {
		assert.ErrorContains(t, err, `"`+server+`"`)
	}
	all, _, err = reg.Expand(ctx, "mcp:tool/*", action.Tool)
	require.NoError(t, err, "all tools are those of the servers that work")
	assert.Len(t, all, 18)
	assert.Contains(t, l.String(), "are missing from a call")
}

func TestAListingDoesNotWaitForAServerThatHangs(t *testing.T) {
	h, _ := host(t, mcp.HostConfig{Servers: map[string]mcp.ServerConfig{"good": stdio(t, "events"), "hangs": stdio(t, "hang tools/list")}})
	begun := time.Now()
	descs, err := h.List(t.Context())
	assert.Len(t, descs, 18+3)
	assert.ErrorContains(t, err, `"hangs"`)
	assert.Less(t, time.Since(begun), 10*time.Second)
}

func TestAServerMayHangInEachPhase(t *testing.T) {
	for _, method := range []string{"initialize", "tools/list", "prompts/list", "resources/list", "resources/templates/list"} {
		both(t, "hang "+method, func(t *testing.T, s mcp.ServerConfig) {
			if s.URL != "" {
				s.URL = serveHTTP(t, newPeer("hang "+method))
			}
			_, reg := host(t, mcp.HostConfig{ConnectTimeout: 300 * time.Millisecond, Servers: map[string]mcp.ServerConfig{"fs": s}})
			_, err := run(t.Context(), reg, "mcp:tool/fs/echo", `{}`)
			require.ErrorIs(t, err, status.ErrUnavailable, method)
			assert.ErrorContains(t, err, "did not answer within")
		})
	}
	both(t, "events", func(t *testing.T, s mcp.ServerConfig) {
		s.Timeout = 300 * time.Millisecond
		_, reg := host(t, mcp.HostConfig{Servers: map[string]mcp.ServerConfig{"fs": s}})
		_, err := run(t.Context(), reg, "mcp:tool/fs/hang", `{}`)
		require.ErrorIs(t, err, status.ErrDeadlineExceeded)
		got, err := run(t.Context(), reg, "mcp:tool/fs/echo", `{"text":"hi"}`)
		require.NoError(t, err, "the connection goes on")
		assert.Equal(t, `"hi"`, string(got.Output))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err = run(ctx, reg, "mcp:tool/fs/hang", `{}`)
		require.ErrorIs(t, err, status.ErrCancelled)
	})
}

func TestWhatAServerSendsIsBounded(t *testing.T) {
	both(t, "events", func(t *testing.T, s mcp.ServerConfig) {
		_, reg := host(t, mcp.HostConfig{Servers: map[string]mcp.ServerConfig{"fs": s, "other": stdio(t, "events")}})
		_, err := run(t.Context(), reg, "mcp:tool/fs/huge", `{}`)
		require.ErrorIs(t, err, status.ErrResourceExhausted)
		assert.ErrorContains(t, err, "a message of more than 8388608 bytes")
		got, err := run(t.Context(), reg, "mcp:tool/other/echo", `{"text":"hi"}`)
		require.NoError(t, err)
		assert.Equal(t, `"hi"`, string(got.Output))
	})
	for name, s := range map[string]mcp.ServerConfig{"stdio": stdio(t, "events"), "http": {URL: serveHTTP(t, newPeer("events"))}} {
		_, reg := host(t, mcp.HostConfig{Servers: map[string]mcp.ServerConfig{"fs": s}})
		_, err := run(t.Context(), reg, "mcp:tool/fs/flood", `{}`)
		require.ErrorIs(t, err, status.ErrResourceExhausted, name)
		assert.ErrorContains(t, err, "faster than they are read", name)
		_, err = run(t.Context(), reg, "mcp:tool/fs/deep", `{}`)
		require.Error(t, err, name)
	}
	for kind, want := range map[string]string{"many": "more than 1000 tools", "pages": "more than", "garbage": "no message", "floods": "faster"} {
		_, reg := host(t, mcp.HostConfig{Servers: map[string]mcp.ServerConfig{"fs": stdio(t, kind)}})
		_, err := run(t.Context(), reg, "mcp:tool/fs/echo", `{}`)
		require.Error(t, err, kind)
		assert.ErrorContains(t, err, want, kind)
	}
}

func TestToolsThatCanNotBeOfferedAreLeftOut(t *testing.T) {
	l := &logs{}
	h, reg := host(t, mcp.HostConfig{Logger: slog.New(slog.NewTextHandler(l, nil)), Servers: map[string]mcp.ServerConfig{"fs": stdio(t, "cyclic")}})
	descs, err := h.Match(t.Context(), "fs/")
	require.NoError(t, err)
	assert.Subset(t, names(descs), []string{"/tool.v2/fs/tree", "/tool.v2/fs/echo"})
	for _, bad := range []string{"remote", "vast", "no object", "list", "unseen"} {
		assert.NotContains(t, names(descs), "/tool.v2/fs/"+bad)
		assert.Contains(t, l.String(), bad)
	}
	_, err = run(t.Context(), reg, "mcp:tool/fs/tree", `{"child":{"child":7}}`)
	require.ErrorIs(t, err, status.ErrInvalidArgument, "a schema that refers to itself is one")
	_, err = run(t.Context(), reg, "mcp:tool/fs/loop", `{"a":7}`)
	require.Error(t, err, "one that goes around in circles ends")
}

func TestTextOfAServerIsCleaned(t *testing.T) {
	l := &logs{}
	_, reg := host(t, mcp.HostConfig{Logger: slog.New(slog.NewTextHandler(l, nil)), Servers: map[string]mcp.ServerConfig{"fs": stdio(t, "hidden"), "writes": stdio(t, "writes")}})
	a, err := reg.Resolve(t.Context(), "/dynamic-action-provider/mcp:tool/fs/echo", action.Tool, action.ToolV2)
	require.NoError(t, err)
	assert.Equal(t, "a[2Kbcd", a.Desc().Description)
	assert.NotContains(t, string(a.Desc().InputSchema), "u202e")
	assert.NotContains(t, string(a.Desc().InputSchema), "\u202e")

	got, err := run(t.Context(), reg, "mcp:tool/writes/echo", `{"text":"hi"}`)
	require.NoError(t, err, "a greeting before the protocol is passed over")
	assert.Equal(t, `"hi"`, string(got.Output))
	require.Eventually(t, func() bool { return strings.Contains(l.String(), "writes more, which is left out") }, 5*time.Second, 10*time.Millisecond)
	assert.NotContains(t, l.String(), "a-very-secret-token")
	assert.Contains(t, l.String(), "the token is [redacted]")
	assert.LessOrEqual(t, strings.Count(l.String(), "the token is"), 200)
}

func TestAToolThatHasChangedAsksBeforeItRuns(t *testing.T) {
	_, reg := host(t, mcp.HostConfig{CacheTTL: -1, Servers: map[string]mcp.ServerConfig{"fs": stdio(t, "changes")}})
	ctx := t.Context()
	first, err := reg.Resolve(ctx, "/dynamic-action-provider/mcp:tool/fs/echo", action.Tool, action.ToolV2)
	require.NoError(t, err)
	_, err = first.RunJSON(ctx, json.RawMessage(`{}`), nil)
	require.ErrorIs(t, err, status.ErrAborted, "it changed between the listing and the call")

	_, err = run(ctx, reg, "mcp:tool/fs/echo", `{"text":"hi"}`)
	question, ok := tool.AsInterrupt(err)
	require.True(t, ok, "%v", err)
	assert.JSONEq(t, `{"server":"fs","tool":"echo","changed":["description"]}`, string(member(t, question.Metadata, "mcp")))
	got, err := run(tool.WithResumed(ctx, content.True()), reg, "mcp:tool/fs/echo", `{"text":"hi"}`)
	require.NoError(t, err)
	assert.Equal(t, `"hi"`, string(got.Output))
	_, err = run(ctx, reg, "mcp:tool/fs/echo", `{"text":"hi"}`)
	require.NoError(t, err, "it is asked once")
}

func member(t *testing.T, raw json.RawMessage, name string) json.RawMessage {
	t.Helper()
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &all))
	return all[name]
}

func TestAServersQuestionIsAnInterrupt(t *testing.T) {
	both := map[string]mcp.ServerConfig{"stdio": stdio(t, "events"), "http": {URL: serveHTTP(t, newPeer("events"))}}
	for name, s := range both {
		_, reg := host(t, mcp.HostConfig{Servers: map[string]mcp.ServerConfig{"fs": s}})
		ctx := t.Context()
		ask := func() *tool.InterruptError {
			_, err := run(ctx, reg, "mcp:tool/fs/ask", `{"a":1}`)
			question, ok := tool.AsInterrupt(err)
			require.True(t, ok, "%s: %v", name, err)
			return question
		}
		question := ask()
		assert.JSONEq(t, `"How many?"`, string(member(t, question.Metadata, "message")))
		assert.Contains(t, string(member(t, question.Metadata, "requestedSchema")), `"integer"`)

		_, err := run(tool.WithResumed(ctx, json.RawMessage(`{"n":"seven"}`)), reg, "mcp:tool/fs/ask", `{"a":1}`)
		require.ErrorIs(t, err, status.ErrInvalidArgument, "an answer that does not fit; the question stands")
		got, err := run(tool.WithResumed(ctx, json.RawMessage(`{"n":7}`)), reg, "mcp:tool/fs/ask", `{"a":1}`)
		require.NoError(t, err)
		assert.Equal(t, `{"action":"accept","content":{"n":7}}`, string(got.Output))

		ask()
		got, err = run(tool.WithResumed(ctx, json.RawMessage(`{"action":"decline"}`)), reg, "mcp:tool/fs/ask", `{"a":1}`)
		require.NoError(t, err)
		assert.Equal(t, `{"action":"decline"}`, string(got.Output))

		one, two := ask(), ask() // calls with equal inputs are told apart by their IDs
		_, err = run(tool.WithResumed(ctx, json.RawMessage(`{"n":1}`)), reg, "mcp:tool/fs/ask", `{"a":1}`)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
		for i, question := range []*tool.InterruptError{one, two} {
			id := member(t, member(t, question.Metadata, "mcp"), "id")
			got, err = run(tool.WithResumed(ctx, json.RawMessage(`{"id":`+string(id)+`,"n":`+strconv.Itoa(i)+`}`)), reg, "mcp:tool/fs/ask", `{"a":1}`)
			require.NoError(t, err)
			assert.Equal(t, `{"action":"accept","content":{"n":`+strconv.Itoa(i)+`}}`, string(got.Output))
		}
		ask() // and closing the host ends a call that waits
	}
}

func TestHTTPServersGetTheirHeadersAndNothingElse(t *testing.T) {
	_, reg := host(t, mcp.HostConfig{Servers: map[string]mcp.ServerConfig{
		"right": {URL: serveHTTP(t, newPeer("refuses")), Headers: map[string]string{"Authorization": "Bearer a-long-token"}},
		"wrong": {URL: serveHTTP(t, newPeer("refuses"))}, "redirects": {URL: serveHTTP(t, newPeer("redirects"))},
	}})
	_, err := run(t.Context(), reg, "mcp:tool/right/echo", `{"text":"hi"}`)
	require.NoError(t, err)
	_, err = run(t.Context(), reg, "mcp:tool/wrong/echo", `{}`)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.ErrorContains(t, err, "401")
	_, err = run(t.Context(), reg, "mcp:tool/redirects/echo", `{}`)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.ErrorContains(t, err, "not followed")
}

func TestConfigurationsThatCanNotWorkAreRefused(t *testing.T) {
	for name, c := range map[string]mcp.ServerConfig{
		"nothing": {}, "both": {Command: "a", URL: "http://a"}, "headers": {Command: "a", Headers: map[string]string{"a": "b"}},
		"arguments": {URL: "http://a", Args: []string{"b"}}, "a/b": {Command: "a"}, "file": {URL: "file:///etc/passwd"},
		"user": {URL: "http://me:secret@a/"}, "split": {URL: "http://a", Headers: map[string]string{"a": "b\r\nc: d"}},
		"variable": {Command: "a", Env: map[string]string{"A=B": "c"}}, "late": {Command: "a", Timeout: -1},
	} {
		_, err := mcp.NewHost(mcp.HostConfig{Servers: map[string]mcp.ServerConfig{name: c}})
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
	_, err := mcp.NewHost(mcp.HostConfig{Name: "a:b"})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}
