package reflection_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/reflection"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/devexport"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// post sends a request and returns the answer with its body unread.
func post(t *testing.T, ctx context.Context, url, body string) *http.Response { //nolint:revive // the test comes first
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(raw)
}

func TestHeadersComeWhenTheRunBeginsAndItCanBeCancelled(t *testing.T) {
	s := start(t, newApp(t), reflection.Config{})
	for _, url := range []string{"/api/runAction", "/api/runAction?stream=true"} {
		// The flow waits for its end, so the headers are there before it.
		resp := post(t, t.Context(), s.URL()+url, `{"key":"/flow/wait"}`)
		id := resp.Header.Get("X-Genkit-Trace-Id")
		assert.Regexp(t, `^[0-9a-f]{32}$`, id)
		assert.Regexp(t, `^[0-9a-f]{16}$`, resp.Header.Get("X-Genkit-Span-Id"))
		assert.NotEmpty(t, resp.Header.Get("x-genkit-version"))
		cancelled := post(t, t.Context(), s.URL()+"/api/cancelAction", `{"traceId":"`+id+`"}`)
		assert.Equal(t, 200, cancelled.StatusCode)
		assert.JSONEq(t, `{"message":"Action cancelled"}`, body(t, cancelled))
		got := normal(body(t, resp))
		assert.Equal(t, `{"error":{"code":1,"message":"Action was cancelled","details":{"stack":"<stack>","traceId":"<trace>"}}}`, got)
	}
}

func TestAChunkIsReadWhileTheRunGoesOn(t *testing.T) {
	a := newApp(t)
	go1 := make(chan struct{})
	f, err := flow.NewStreaming("halfway", func(_ context.Context, _ any, send func(string) error) (string, error) {
		if err := send("first"); err != nil {
			return "", err
		}
		<-go1
		return "end", nil
	})
	require.NoError(t, err)
	require.NoError(t, a.reg.Register(f))
	s := start(t, a, reflection.Config{})
	resp := post(t, t.Context(), s.URL()+"/api/runAction?stream=true", `{"key":"/flow/halfway"}`)
	r := bufio.NewReader(resp.Body)
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "\"first\"\n", line)
	close(go1)
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	assert.Contains(t, string(rest), `"result":"end"`)
}

func TestAReaderWhoLeavesEndsTheRun(t *testing.T) {
	a := newApp(t)
	ended := make(chan error, 1)
	f, err := flow.New("left", func(ctx context.Context, _ any) (string, error) {
		<-ctx.Done()
		ended <- ctx.Err()
		return "", ctx.Err()
	})
	require.NoError(t, err)
	require.NoError(t, a.reg.Register(f))
	s := start(t, a, reflection.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	post(t, ctx, s.URL()+"/api/runAction", `{"key":"/flow/left"}`)
	cancel()
	assert.Error(t, <-ended)
}

func TestCloseCancelsWhatRunsAndAnswers(t *testing.T) {
	s := start(t, newApp(t), reflection.Config{})
	resp := post(t, t.Context(), s.URL()+"/api/runAction", `{"key":"/flow/wait"}`)
	require.NoError(t, s.Close(t.Context()))
	assert.Contains(t, body(t, resp), "Action was cancelled")
	require.NoError(t, s.Close(t.Context()), "once more is fine")
}

func TestCloseDoesNotWaitForeverForARunThatHearsNothing(t *testing.T) {
	a := newApp(t)
	release := make(chan struct{})
	deaf, err := flow.New("deaf", func(context.Context, any) (string, error) {
		<-release
		return "", nil
	})
	require.NoError(t, err)
	require.NoError(t, a.reg.Register(deaf))
	s, err := reflection.Start(t.Context(), a, reflection.Config{Port: -1, Root: t.TempDir(), Always: true, Getenv: getenv(nil)})
	require.NoError(t, err)
	post(t, t.Context(), s.URL()+"/api/runAction", `{"key":"/flow/deaf"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, s.Close(ctx), status.ErrDeadlineExceeded)
	close(release)
}

// A file tells the tools where the runtime is; see reference: RuntimeInfo.
func TestTheRuntimeFile(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, ".genkit", "runtimes")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	files := func() []string {
		all, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		return all
	}
	s := start(t, newApp(t), reflection.Config{Root: root})
	require.Len(t, files(), 1)
	var info map[string]any
	raw, err := os.ReadFile(files()[0])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &info))
	port := s.URL()[strings.LastIndexByte(s.URL(), ':')+1:]
	assert.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`, info["timestamp"])
	delete(info, "timestamp")
	assert.Equal(t, map[string]any{
		"id": strconv.Itoa(os.Getpid()) + "-" + port, "pid": float64(os.Getpid()), "name": "kit", "reflectionServerUrl": "http://127.0.0.1:" + port,
		"genkitVersion": "go/" + reflection.Version, "reflectionApiSpecVersion": 1.0,
	}, info)
	assert.Equal(t, info["id"], s.ID())
	require.NoError(t, s.Close(t.Context()))
	assert.Empty(t, files(), "taken back")

	// The file of a crashed server is removed by the next server on its port; files of
	// other servers stay.
	stale := filepath.Join(dir, "1-"+port+"-1.json")
	require.NoError(t, os.WriteFile(stale, []byte(`{"id":"1-`+port+`","pid":1,"reflectionServerUrl":"http://localhost:`+port+`"}`), 0o600))
	other := filepath.Join(dir, "2-3.json")
	require.NoError(t, os.WriteFile(other, []byte(`{"id":"2","pid":2,"reflectionServerUrl":"http://localhost:2"}`), 0o600))
	broken := filepath.Join(dir, "broken.json")
	require.NoError(t, os.WriteFile(broken, []byte(`{`), 0o600))
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	s = start(t, newApp(t), reflection.Config{Root: root, Port: n, Getenv: getenv(map[string]string{"GENKIT_RUNTIME_ID": "mine"})})
	assert.NoFileExists(t, stale)
	assert.FileExists(t, other)
	assert.FileExists(t, broken)
	assert.Equal(t, "mine", s.ID())
	assert.Contains(t, exchange(t, s.URL(), "GET /api/__health?id=mine"), "OK")
	require.NoError(t, s.Close(t.Context()))
}

func TestWithoutAFolderTheServerWorksAllTheSame(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	var log bytes.Buffer
	s := start(t, newApp(t), reflection.Config{Root: file, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	assert.Contains(t, exchange(t, s.URL(), "GET /api/__health"), "OK")
	assert.Contains(t, log.String(), "won't find")
}

func TestPorts(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, taken, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	fail := func(port int, env string) error {
		_, err := reflection.Start(t.Context(), newApp(t), reflection.Config{Port: port, Root: t.TempDir(), Always: true, Getenv: getenv(map[string]string{"GENKIT_REFLECTION_PORT": env})})
		return err
	}
	n, err := strconv.Atoi(taken)
	require.NoError(t, err)
	assert.ErrorIs(t, fail(n, ""), status.ErrUnavailable)
	assert.ErrorIs(t, fail(0, taken), status.ErrUnavailable)
	for _, env := range []string{"x", "0", "65536", "-1", "80 "} {
		assert.ErrorIs(t, fail(0, env), status.ErrInvalidArgument, env)
	}
	assert.ErrorIs(t, fail(70000, ""), status.ErrInvalidArgument)

	s, err := reflection.Start(t.Context(), newApp(t), reflection.Config{Root: t.TempDir(), Always: true, Getenv: getenv(nil)})
	require.NoError(t, err)
	defer s.Close(t.Context())
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+$`, s.URL())
}

func TestOutsideOfDevelopmentThereIsNothing(t *testing.T) {
	for _, env := range []string{"", "prod", "DEV"} {
		s, err := reflection.Start(t.Context(), newApp(t), reflection.Config{Getenv: getenv(map[string]string{"GENKIT_ENV": env})})
		require.NoError(t, err)
		assert.Nil(t, s)
		assert.Empty(t, s.URL()+s.ID())
		assert.Nil(t, s.Exporter())
		assert.Equal(t, t.Context(), s.Context(t.Context()))
		assert.NoError(t, s.Close(t.Context()))
	}
	s, err := reflection.Start(t.Context(), newApp(t), reflection.Config{Port: -1, Root: t.TempDir(), Getenv: getenv(map[string]string{"GENKIT_ENV": "dev"})})
	require.NoError(t, err)
	assert.NotNil(t, s)
	assert.NoError(t, s.Close(t.Context()))
}

func TestAllowedHostsAndOrigins(t *testing.T) {
	s := start(t, newApp(t), reflection.Config{AllowedHosts: []string{"devbox"}, AllowedOrigins: []string{"https://ui.example"}})
	for request, want := range map[string]string{
		"GET /api/envs\nHost: DevBox:3100":                             "200",
		"GET /api/envs\nHost: [::1]:3100":                              "200",
		"GET /api/envs\nHost: 127.0.0.1.attacker.example":              "403",
		"GET /api/envs\nHost: ":                                        "403",
		"GET /api/envs\nOrigin: https://ui.example":                    "200",
		"GET /api/envs\nOrigin: https://ui.example.attacker.example":   "403",
		"GET /api/envs\nOrigin: http://localhost:1\nHost: localhost:1": "200",
		"GET /api/envs\nSec-Fetch-Site: same-site":                     "403",
		"GET /api/envs\nSec-Fetch-Site: same-origin":                   "200",
	} {
		assert.Equal(t, want, exchange(t, s.URL(), request)[:3], request)
	}
}

func TestTheTracesOfARunAreThereBeforeItsAnswer(t *testing.T) {
	srv := telemetrytest.NewServer(t)
	s := start(t, newApp(t), reflection.Config{Getenv: getenv(map[string]string{"GENKIT_TELEMETRY_SERVER": srv.URL})})
	// The environment's server counts, whatever the tools tell.
	post(t, t.Context(), s.URL()+"/api/notify", `{"telemetryServerUrl":"http://127.0.0.1:1","reflectionApiSpecVersion":2}`)
	resp := post(t, t.Context(), s.URL()+"/api/runAction", `{"key":"/flow/echo","input":"x","context":{"auth":{"token":"t0k"},"n":1},"telemetryLabels":{"batch":"7"}}`)
	body(t, resp)
	root := srv.Spans(resp.Header.Get("X-Genkit-Trace-Id"))["echo"]
	require.NotNil(t, root)
	assert.Equal(t, resp.Header.Get("X-Genkit-Span-Id"), root["spanId"])
	attrs, _ := root["attributes"].(map[string]any)
	assert.Equal(t, map[string]any{
		"genkit:name": "echo", "genkit:type": "action", "genkit:metadata:subtype": "flow", "genkit:key": "/flow/echo", "genkit:path": "/{echo,t:flow}",
		"genkit:isRoot": true, "genkit:state": "success", "genkit:input": `"x"`, "genkit:output": `"x"`, "genkit:metadata:inputBytes": 3.0, "genkit:metadata:outputBytes": 3.0,
		"genkit:metadata:context": `{"auth":"<redacted>","n":1}`, "batch": "7",
	}, attrs)
}

func TestTheAppsOwnContextLiesUnderTheRequests(t *testing.T) {
	a := newApp(t)
	a.context = json.RawMessage(`{"auth":{"uid":"app"},"tenant":"acme"}`)
	s := start(t, a, reflection.Config{})
	got := body(t, post(t, t.Context(), s.URL()+"/api/runAction", `{"key":"/flow/context","context":{"auth":{"uid":"me"}}}`))
	assert.Contains(t, got, `{"auth":{"uid":"me"},"tenant":"acme"}`)
	got = body(t, post(t, t.Context(), s.URL()+"/api/runAction", `{"key":"/flow/context"}`))
	assert.Contains(t, got, `{"auth":{"uid":"app"},"tenant":"acme"}`)
}

func TestATelemetryServerThatIsGoneDelaysNothing(t *testing.T) {
	x := devexport.New(devexport.Config{URL: "http://127.0.0.1:1"})
	defer x.Close(t.Context())
	s := start(t, newApp(t), reflection.Config{Exporter: x})
	for range 20 {
		assert.Contains(t, body(t, post(t, t.Context(), s.URL()+"/api/runAction", `{"key":"/flow/echo","input":"x"}`)), `"result":"x"`)
	}
	assert.Positive(t, x.Stats().Dropped)
}

// The reflection tests of Genkit itself: what its test app answers.
func TestGenkitsReflectionSpec(t *testing.T) {
	raw, err := os.ReadFile(enginetest.Spec(t, "genkit/reflection_api.yaml"))
	require.NoError(t, err)
	var spec struct {
		Tests []struct {
			Path string
			Post map[string]any
			Body map[string]any
		}
	}
	require.NoError(t, yaml.Unmarshal(raw, &spec))
	require.NotEmpty(t, spec.Tests)
	a := newApp(t)
	reflector, err := model.New("customReflector", model.Info{Supports: model.Supports{Multiturn: true}}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
		// The test app's order of fields, and its count of characters.
		type part map[string]any
		var messages []map[string]any
		in := 0
		for _, m := range req.Messages {
			var parts []part
			for _, p := range m.Content {
				require.NotNil(t, p.Text)
				in += len(*p.Text)
				parts = append(parts, part{"text": *p.Text})
			}
			messages = append(messages, map[string]any{"role": m.Role, "content": parts})
		}
		text, err := json.Marshal(map[string]any{"messages": messages})
		msg := content.Message{Role: content.RoleModel, Content: []content.Part{content.NewTextPart(string(text))}}
		return &model.Response{Message: &msg, FinishReason: "stop", Usage: &model.Usage{
			InputCharacters: in, OutputCharacters: len(text),
		}}, err
	})
	require.NoError(t, err)
	require.NoError(t, a.reg.Register(reflector))
	s := start(t, a, reflection.Config{})
	for _, test := range spec.Tests {
		request, err := json.Marshal(test.Post)
		require.NoError(t, err)
		var got map[string]any
		require.NoError(t, json.Unmarshal([]byte(body(t, post(t, t.Context(), s.URL()+test.Path, string(request)))), &got))
		delete(got, "telemetry") // not of the spec
		want, err := json.Marshal(test.Body)
		require.NoError(t, err)
		have, err := json.Marshal(got)
		require.NoError(t, err)
		assert.JSONEq(t, string(want), string(have))
	}
}

// failing is a plugin that can't start.
type failing struct{}

func (failing) Name() string                                       { return "failing" }
func (failing) Register(context.Context, *registry.Registry) error { return nil }
func (failing) Init(context.Context) ([]action.Action, error)      { return nil, errors.New("no server") }

// Actions of a dynamic provider are listed under the keys by which they are run, and a
// failing provider hides no other actions.
func TestTheListHoldsAllThatCanBeRun(t *testing.T) {
	a := newApp(t)
	inner, err := tool.NewRaw("look", "", nil, nil, func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return json.RawMessage(`"seen"`), nil
	})
	require.NoError(t, err)
	dynamic, err := registry.NewDynamic("mcp", registry.DynamicConfig{}, func(context.Context) ([]action.Action, error) { return []action.Action{inner}, nil })
	require.NoError(t, err)
	require.NoError(t, a.reg.AddProvider(dynamic))
	broken, err := registry.NewDynamic("down", registry.DynamicConfig{}, func(context.Context) ([]action.Action, error) { return nil, errors.New("down") })
	require.NoError(t, err)
	require.NoError(t, a.reg.AddProvider(broken))
	require.NoError(t, a.reg.AddPlugin(t.Context(), failing{}))
	var log bytes.Buffer
	list := reflection.Lister(a, slog.New(slog.NewTextHandler(&log, nil)))
	listed, err := list(t.Context())
	require.NoError(t, err)
	said := log.String()
	assert.Equal(t, 1, strings.Count(said, "some actions can't be listed"))
	_, err = list(t.Context())
	require.NoError(t, err)
	assert.Equal(t, said, log.String(), "the same reason is logged once")
	for _, key := range []string{"/flow/echo", "/tool/textkit/slugify", "/dynamic-action-provider/mcp", "/dynamic-action-provider/mcp:tool/look", "/dynamic-action-provider/down"} {
		assert.Contains(t, listed, key)
	}
	found, err := reflection.Resolve(t.Context(), a.reg, "/dynamic-action-provider/mcp:tool/look")
	require.NoError(t, err)
	out, err := found.RunJSON(t.Context(), nil, nil)
	require.NoError(t, err)
	assert.JSONEq(t, `"seen"`, string(out))
}
