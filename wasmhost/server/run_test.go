package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
)

func withConformance(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, nil)
	require.Equal(t, http.StatusCreated, w.put("calc", calc(t)).status)
	r := w.put("conformance", read(t, "pdk/conformance/c/conformance.wasm"))
	require.Equal(t, http.StatusCreated, r.status, r.body)
	return w
}

func TestRunTool(t *testing.T) {
	w := withConformance(t)
	for name, test := range map[string]struct{ path, body, want string }{
		"by its full name":                  {"calc/add", `{"input":{"a":0.1,"b":0.2}}`, `{"result":{"sum":0.3}}`},
		"by its short name":                 {"add", `{"input":{"a":1,"b":2}}`, `{"result":{"sum":3}}`},
		"by a name with an escaped slash":   {"calc%2Fadd", `{"input":{"a":1,"b":2}}`, `{"result":{"sum":3}}`},
		"without an input":                  {"calc/echo", `{}`, `{"result":null}`},
		"without a body":                    {"calc/echo", ``, `{"result":null}`},
		"with numbers that keep all digits": {"calc/echo", `{"input":[12345678901234567890.10,1E400]}`, `{"result":[12345678901234567890.10,1E400]}`},
		"with text for a tool that is text": {"upper", `{"input":"abc"}`, `{"result":"ABC"}`},
		"that interrupts":                   {"interrupt", `{"input":{"why":"<ask>"}}`, `{"interrupt":{"why":"<ask>"}}`},
		"that interrupts without words":     {"native/asks", `{}`, `{"interrupt":true}`},
		"that reads its caller's context":   {"context", `{"input":{},"context":{"auth":{"uid":"ann"}}}`, `{"result":{"auth":{"uid":"ann"}}}`},
		"whose context is not given":        {"context", `{"input":{}}`, `{"result":{}}`},
		"that is native":                    {"native/pretty", `{}`, "{\"result\":[\n1.0,\n2e400]}"},
		"that emits where nobody streams":   {"emit3", `{"input":{}}`, `{"result":{"chunks":3}}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.post("/tools/"+test.path, test.body)
			assert.Equal(t, http.StatusOK, r.status)
			assert.Equal(t, "application/json", r.header.Get("Content-Type"))
			assert.Equal(t, test.want+"\n", r.body)
		})
	}
}

func TestRunToolThatIsMultipart(t *testing.T) {
	w := newWorld(t, nil)
	body, kind := form(t, "module", string(read(t, "pdk/conformance/c/conformance.wasm")),
		"descriptor", `{"abi":"genkit/1","name":"multi","tools":[{"name":"parts","export":"echo","multipart":true}]}`)
	r := w.do(http.MethodPut, tenant+"/modules/multi", body, kind)
	require.Equal(t, http.StatusCreated, r.status, r.body)
	r = w.post("/tools/parts", `{"input":{"output":1E400,"content":[{"text":"hi"}]}}`)
	assert.Equal(t, `{"result":{"output":1E400,"content":[{"text":"hi"}]}}`+"\n", r.body)
	r = w.post("/tools/multi/parts", `{"input":7}`)
	assert.Equal(t, http.StatusInternalServerError, r.status)
	assert.Contains(t, r.body, "must return an object")
}

func TestRunToolStreams(t *testing.T) {
	w := withConformance(t)
	for name, test := range map[string]struct {
		path, body string
		want       []string
	}{
		"chunks and a result":       {"emit3", `{"input":{}}`, []string{`{"message":{"n":1}}`, `{"message":{"n":2}}`, `{"message":"drei é"}`, `{"result":{"chunks":3}}`}},
		"a result alone":            {"add", `{"input":{"a":1,"b":2}}`, []string{`{"result":{"sum":3}}`}},
		"an interrupt":              {"interrupt", `{"input":{"why":1}}`, []string{`{"interrupt":{"why":1}}`}},
		"JSON that has line breaks": {"native/pretty", `{}`, []string{`{"message":{"a":"<1>"}}`, `{"result":[1.0,2e400]}`}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []reply{w.post("/tools/"+test.path, test.body, sse), w.post("/tools/"+test.path+"?stream=true", test.body)} {
				assert.Equal(t, http.StatusOK, r.status)
				assert.Equal(t, "text/event-stream", r.header.Get("Content-Type"))
				assert.Equal(t, "no-cache", r.header.Get("Cache-Control"))
				assert.Equal(t, "data: "+strings.Join(test.want, "\n\ndata: ")+"\n\n", r.body)
			}
		})
	}
	r := w.post("/tools/add", `{"input":{}}`, sse)
	assert.Equal(t, http.StatusBadRequest, r.status, "a failure before the first frame has its own status")
	r.problem(t)
	assert.Equal(t, http.StatusBadRequest, w.post("/tools/add?stream=perhaps", `{}`).status)
}

func TestFailuresOfTools(t *testing.T) {
	w := withConformance(t)
	for name, test := range map[string]struct {
		path, body string
		status     int
		code       string
		says       string
	}{
		"an input that breaks the schema":   {"add", `{"input":{"a":1}}`, 400, "INVALID_ARGUMENT", "/tool/calc/add"},
		"a failure that the guest chose":    {"fail", `{"input":{}}`, 404, "NOT_FOUND", ""},
		"a guest that traps":                {"trap", `{"input":{}}`, 500, "INTERNAL", "unreachable"},
		"an output that breaks its schema":  {"wrongshape", `{"input":{}}`, 500, "INTERNAL", "wrongshape"},
		"a tool that is not there":          {"calc/nothing", `{}`, 404, "NOT_FOUND", "calc/nothing"},
		"a bare name that could be several": {"echo", `{}`, 400, "INVALID_ARGUMENT", "calc/echo"},
		"no name":                           {"", `{}`, 404, "NOT_FOUND", "no tool"},
		"a text that is private":            {"native/private", `{}`, 500, "INTERNAL", "internal error"},
		"a tool that panics":                {"native/panics", `{}`, 500, "INTERNAL", "internal error"},
		"a body that is cut":                {"add", `{"input":`, 400, "INVALID_ARGUMENT", "not valid JSON"},
		"a body that is two values":         {"add", `{}{}`, 400, "INVALID_ARGUMENT", "not valid JSON"},
		"a body that is no UTF-8":           {"add", "{\"input\":\"\xff\"}", 400, "INVALID_ARGUMENT", "UTF-8"},
		"a body that nests too deep":        {"add", strings.Repeat("[", 100_000), 400, "INVALID_ARGUMENT", "nested"},
		"a body that is no object":          {"add", `[]`, 400, "INVALID_ARGUMENT", "object"},
		"a body with a mistyped member":     {"add", `{"Input":1}`, 400, "INVALID_ARGUMENT", `"Input"`},
		"a context that is no object":       {"add", `{"context":[]}`, 400, "INVALID_ARGUMENT", "context"},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.post("/tools/"+test.path, test.body)
			assert.Equal(t, test.status, r.status)
			p := r.problem(t)
			assert.Equal(t, test.code, p.StatusName)
			assert.Contains(t, p.Detail, test.says)
			assert.NotContains(t, r.body, "secret")
		})
	}
}

func TestRetryAfter(t *testing.T) {
	w := newWorld(t, nil)
	r := w.post("/tools/native/busy", `{}`)
	assert.Equal(t, http.StatusTooManyRequests, r.status)
	assert.Equal(t, "2", r.header.Get("Retry-After"), "rounded up")
	assert.JSONEq(t, `{"limit":3}`, string(r.problem(t).Details))
}

func TestDevShowsPrivateText(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.Dev = true })
	assert.Contains(t, w.post("/tools/native/private", `{}`).problem(t).Detail, "the secret is 42")
}

func TestActions(t *testing.T) {
	w := withConformance(t)
	var all, tools struct {
		Actions []struct{ Key, Type, Name string }
	}
	require.NoError(t, json.Unmarshal([]byte(w.do(http.MethodGet, tenant+"/actions", nil).body), &all))
	require.NoError(t, json.Unmarshal([]byte(w.do(http.MethodGet, tenant+"/actions?type=tool", nil).body), &tools))
	assert.Greater(t, len(all.Actions), len(tools.Actions))
	for _, a := range tools.Actions {
		assert.Equal(t, "tool", a.Type)
		assert.Equal(t, "/tool/"+a.Name, a.Key)
	}
	assert.JSONEq(t, `{"actions":[]}`, w.do(http.MethodGet, tenant+"/actions?type=nothing", nil).body)
}

// sick is a plugin that can't start.
type sick struct {
	name string
	err  error
}

func (s sick) Name() string                                     { return s.name }
func (sick) Register(context.Context, *registry.Registry) error { return nil }
func (s sick) Init(context.Context) ([]action.Action, error)    { return nil, s.err }

func TestMiddlewareIsListedBesideActions(t *testing.T) {
	w := newWorld(t, func(c *server.Config) {
		reg, err := c.Registry("default")
		require.NoError(t, err)
		f, err := middleware.New(middleware.Desc{Name: "count", Description: "Counts."}, func(context.Context, json.RawMessage) (*middleware.Hooks, error) { return &middleware.Hooks{}, nil })
		require.NoError(t, err)
		require.NoError(t, middleware.Register(reg, f))
	})
	for query, want := range map[string]string{"": `"count"`, "?type=middleware": `"Counts."`} {
		var list struct{ Middleware []json.RawMessage }
		require.NoError(t, json.Unmarshal([]byte(w.do(http.MethodGet, tenant+"/actions"+query, nil).body), &list))
		require.Len(t, list.Middleware, 1)
		assert.Contains(t, string(list.Middleware[0]), want)
	}
	assert.NotContains(t, w.do(http.MethodGet, tenant+"/actions?type=tool", nil).body, "middleware")
}

func TestActionsAreListedBesideWhatFails(t *testing.T) {
	var logged lockedBuffer
	w := newWorld(t, func(c *server.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		reg, err := c.Registry("default")
		require.NoError(t, err)
		require.NoError(t, reg.AddPlugin(t.Context(), sick{"down", status.Publicf(status.Unavailable, "the shop is closed")}))
		require.NoError(t, reg.AddPlugin(t.Context(), sick{"private", errors.New("password hunter2")}))
	})
	var list struct {
		Actions  []struct{ Name string }
		Failures []status.Wire
	}
	r := w.do(http.MethodGet, tenant+"/actions", nil)
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.NoError(t, json.Unmarshal([]byte(r.body), &list))
	assert.NotEmpty(t, list.Actions)
	require.Len(t, list.Failures, 2)
	assert.Equal(t, "UNAVAILABLE", list.Failures[0].Status)
	assert.Contains(t, list.Failures[0].Message, "the shop is closed")
	assert.NotContains(t, r.body, "hunter2")
	assert.Contains(t, logged.String(), "hunter2")
}

func TestGenerate(t *testing.T) {
	w := newWorld(t, nil)
	body := `{"model":"m","messages":[],"x":1.0}`
	assert.Equal(t, body+"\n", w.post("/generate", body).body, "the body goes in as it is, the response out")
	r := w.post("/generate", body, sse)
	assert.Equal(t, "data: {\"message\":{\"content\":[]}}\n\ndata: {\"result\":"+body+"}\n\n", r.body)
	assert.Equal(t, "INVALID_ARGUMENT", w.post("/generate", ``).problem(t).StatusName)
	assert.Equal(t, 415, w.do(http.MethodPost, tenant+"/generate", strings.NewReader(body), "Content-Type: text/plain").status)
	assert.Equal(t, 415, w.do(http.MethodPost, tenant+"/generate", strings.NewReader(body)).status, "a body of no type")
	assert.Equal(t, 415, w.do(http.MethodPost, tenant+"/generate", strings.NewReader(body), "Content-Type: application/json; charset=latin1").status)
	assert.Equal(t, 200, w.do(http.MethodPost, tenant+"/generate", strings.NewReader(body), "Content-Type: application/json; charset=UTF-8").status)
}

func TestBodyLimit(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.MaxBodyBytes = 100 })
	body := func(n int) string { return `{"x":"` + strings.Repeat("x", n-8) + `"}` }
	assert.Equal(t, http.StatusOK, w.post("/generate", body(100)).status)
	assert.Equal(t, http.StatusRequestEntityTooLarge, w.post("/generate", body(101)).status)
	r := w.do(http.MethodPost, tenant+"/generate", struct{ *strings.Reader }{strings.NewReader(body(101))}, jsonType)
	assert.Equal(t, http.StatusRequestEntityTooLarge, r.status, "also when it comes in chunks")
}

func TestFlow(t *testing.T) {
	w := newWorld(t, nil)
	assert.Equal(t, "{\"result\":{\"theme\":\"x\"}}\n", w.post("/flows/menu/suggest", `{"data":{"theme":"x"},"other":1}`).body)
	assert.Equal(t, "{\"result\":\"nothing\"}\n", w.post("/flows/menu/suggest", `{}`).body)
	assert.Equal(t, "{\"result\":\"nothing\"}\n", w.post("/flows/menu/suggest", ``).body)
	assert.Equal(t, "{\"result\":null}\n", w.post("/flows/menu/suggest", `{"data":null}`).body)
	streamed := "data: {\"message\":{\"count\":1}}\n\ndata: {\"message\":{\"count\":1}}\n\ndata: {\"result\":5}\n\n"
	assert.Equal(t, streamed, w.post("/flows/menu/suggest", `{"data":5}`, sse).body)
	assert.Equal(t, streamed, w.post("/flows/menu/suggest?stream=true", `{"data":5}`).body)
	assert.Equal(t, streamed, w.post("/flows/menu/suggest", `{"data":5}`, "Accept: text/event-stream, application/json").body)
}

func TestFlowFailuresHaveGenkitsShape(t *testing.T) {
	w := newWorld(t, nil)
	for name, test := range map[string]struct {
		reply  reply
		status int
		want   string
	}{
		"a flow that fails":         {w.post("/flows/breaks", `{}`), 404, `{"status":"NOT_FOUND","message":"no <dish>","details":[1]}`},
		"a flow that is not there":  {w.post("/flows/none", `{}`), 404, `{"status":"NOT_FOUND","message":"flow \"none\" not found"}`},
		"a body that is not JSON":   {w.post("/flows/breaks", `{`), 400, `{"status":"INVALID_ARGUMENT","message":"body: not valid JSON"}`},
		"a body that is no object":  {w.post("/flows/breaks", `1`), 400, `{"status":"INVALID_ARGUMENT","message":"body: want a JSON object"}`},
		"a type that is not JSON":   {w.post("/flows/breaks", `x`, "Content-Type: text/plain"), 415, ""},
		"a page of another site":    {w.post("/flows/breaks", `{}`, "Sec-Fetch-Site: cross-site"), 403, ""},
		"a method that is not POST": {w.do(http.MethodGet, tenant+"/flows/breaks", nil), 405, ""},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.status, test.reply.status, test.reply.body)
			assert.Equal(t, "application/json", test.reply.header.Get("Content-Type"))
			var e struct{ Status, Message string }
			require.NoError(t, json.Unmarshal([]byte(test.reply.body), &e))
			assert.NotEmpty(t, e.Status)
			assert.NotEmpty(t, e.Message)
			if test.want != "" {
				assert.Equal(t, test.want+"\n", test.reply.body)
			}
		})
	}
	r := w.post("/flows/breaks", `{}`, sse)
	assert.Equal(t, http.StatusOK, r.status, "the stream had begun")
	assert.Equal(t, "data: {\"message\":1}\n\ndata: {\"error\":{\"status\":\"NOT_FOUND\",\"message\":\"no <dish>\",\"details\":[1]}}\n\n", r.body)
}

func TestCallerWhoLeavesEndsTheRun(t *testing.T) {
	for name, accept := range map[string]string{"while it streams": "text/event-stream", "while it waits": "*/*"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL+tenant+"/tools/native/slow", strings.NewReader(`{}`))
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", accept)
			if accept == "*/*" {
				go func() { <-w.running; cancel() }() // it begins, or the test fails
			}
			resp, err := w.Client().Do(req)
			if err == nil {
				line, _ := bufio.NewReader(resp.Body).ReadString('\n')
				assert.Equal(t, "data: {\"message\":\"started\"}\n", line, "a frame is sent at once")
				cancel()
				_ = resp.Body.Close()
			}
			select {
			case <-w.left:
			case <-time.After(10 * time.Second):
				t.Fatal("the run goes on")
			}
		})
	}
}

func TestReaderWhoStallsIsCutOff(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.WriteTimeout = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", w.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST %s/tools/native/flood?stream=true HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: 2\r\n\r\n{}", tenant, jsonType)
	require.NoError(t, err)
	select {
	case <-w.left: // without a single byte having been read
	case <-time.After(20 * time.Second):
		t.Fatal("the run goes on")
	}
}

// brokenWriter is a connection that takes the headers and nothing else.
type brokenWriter struct{ http.ResponseWriter }

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken") }

func TestToolThatIgnoresItsReaderIsCancelled(t *testing.T) {
	reg := registry.New(nil)
	a, err := action.New(action.Desc{Kind: action.Tool, Name: "stubborn"}, func(ctx context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
		_ = emit(json.RawMessage(`1`))
		<-ctx.Done()
		return json.RawMessage(`1`), nil
	})
	require.NoError(t, err)
	require.NoError(t, reg.Register(a))
	srv, err := server.New(server.Config{Host: newWorld(t, nil).host, Registry: func(string) (*registry.Registry, error) { return reg, nil }})
	require.NoError(t, err)
	req := httptest.NewRequest(http.MethodPost, tenant+"/tools/stubborn?stream=true", nil)
	srv.Handler().ServeHTTP(brokenWriter{httptest.NewRecorder()}, req) // returns
}

func TestActionsOfModulesAreRunByTheirKeys(t *testing.T) {
	w := newWorld(t, nil)
	put := w.put("plug", wasmtest.Says(`{"abi":"genkit/1","name":"plug","embedders":[{"name":"e","export":"f"}],"models":[{"name":"m","export":"f"}],
		"prompts":[{"name":"p","source":"Hello, {{name}} of {{@place}}."}]}`, "f", `{"embeddings":[{"embedding":[0.5]}]}`))
	require.Equal(t, http.StatusCreated, put.status, put.body)
	assert.JSONEq(t, `{"result":{"embeddings":[{"embedding":[0.5]}]}}`, w.post("/actions/embedder/plug/e", `{"input":{"input":[{"content":[{"text":"a"}]}]}}`).body)
	assert.JSONEq(t, `{"result":{"messages":[{"role":"user","content":[{"text":"Hello, Ada of here."}]}]}}`,
		w.post("/actions/executable-prompt/plug%2Fp", `{"input":{"name":"Ada"},"context":{"place":"here"}}`).body)
	for path, want := range map[string]int{
		"/actions/embedder/plug/none": http.StatusNotFound,
		"/actions/embedder":           http.StatusNotFound,
		"/actions/":                   http.StatusNotFound,
		"/actions/model/plug/m":       http.StatusNotFound, // its tokens are counted by generate
		"/actions/tool/native/pretty": http.StatusNotFound,
		"/actions/embedder/plug/e":    http.StatusBadRequest,
	} {
		r := w.post(path, `{"input":{}}`)
		assert.Equal(t, want, r.status, "%s: %s", path, r.body)
	}
}
