//go:build unix

package faces_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var traceLine = regexp.MustCompile(`Trace ID:\s+([0-9a-f]{32})`)

func traceID(t *testing.T, said string) string {
	t.Helper()
	m := traceLine.FindStringSubmatch(said)
	require.NotNil(t, m, said)
	return m[1]
}

// One app, and the command line's whole tour of it by version 1 of the API.
func TestCommandLineDrivesARunningApp(t *testing.T) {
	p := newProject(t)
	app := p.app()

	t.Run("flow:run runs a flow, and its Wasm tool", func(t *testing.T) {
		said := p.genkit("flow:run", "sum", `{"a":40,"b":2}`, "--output", "sum.json")
		assert.Contains(t, said, "The sum is 42.")
		assert.JSONEq(t, `"The sum is 42."`, p.read("sum.json"))

		tree := p.genkit("trace:get", traceID(t, said))
		for _, span := range []string{"sum", "ask", "generate", "test/scripted", "calc/add"} {
			assert.Contains(t, tree, span)
		}
		var trace struct {
			DisplayName string `json:"displayName"`
			Spans       map[string]struct {
				DisplayName string         `json:"displayName"`
				Attributes  map[string]any `json:"attributes"`
			} `json:"spans"`
		}
		raw := p.genkit("trace:get", traceID(t, said), "--format", "json")
		require.NoError(t, json.Unmarshal([]byte(raw[strings.Index(raw, "{"):]), &trace), raw)
		assert.Equal(t, "sum", trace.DisplayName)
		for _, span := range trace.Spans {
			assert.Equal(t, "success", span.Attributes["genkit:state"], span.DisplayName)
			if span.DisplayName == "calc/add" {
				assert.Equal(t, map[string]any{"a": 40.0, "b": 2.0}, span.Attributes["genkit:input"])
				assert.Equal(t, map[string]any{"sum": 42.0}, span.Attributes["genkit:output"])
				assert.Greater(t, span.Attributes["wasm.fuel.consumed"], 0.0)
				assert.Greater(t, span.Attributes["wasm.memory.peak_bytes"], 0.0)
				assert.Equal(t, "execute_tool", span.Attributes["gen_ai.operation.name"])
			}
		}
	})
	t.Run("flow:run -s streams", func(t *testing.T) {
		assert.Regexp(t, `1\n2\n3\nResult:\ncounted to 3`, p.genkit("flow:run", "-s", "count", "3"))
	})
	t.Run("a flow that fails is reported with its code and trace", func(t *testing.T) {
		said := p.genkit("flow:run", "fail", `"x"`)
		assert.Contains(t, said, "FAILED_PRECONDITION: this flow always fails")
		assert.Regexp(t, `Code:\s+9`, said)
		assert.Contains(t, p.genkit("trace:get", traceID(t, said)), "fail")
	})
	t.Run("an input that breaks the schema is refused", func(t *testing.T) {
		assert.Contains(t, p.genkit("flow:run", "sum", `{"a":"x"}`), "INVALID_ARGUMENT")
	})
	t.Run("a flow that does not exist is said to be missing", func(t *testing.T) {
		assert.Contains(t, p.genkit("flow:run", "nosuch", `1`), "nosuch")
	})
	t.Run("flow:batchRun, and eval:extractData finds the runs by their label", func(t *testing.T) {
		p.write("batch.json", `["x","y"]`)
		p.genkit("flow:batchRun", "echo", "batch.json", "--label", "first", "--output", "batch-out.json")
		var batch []struct{ Input, Output string }
		p.readJSON("batch-out.json", &batch)
		assert.ElementsMatch(t, []struct{ Input, Output string }{{"x", "x"}, {"y", "y"}}, batch)

		p.genkit("flow:run", "echo", `"unlabelled"`)
		for args, want := range map[string][]string{"--label first": {"x", "y"}, "": {"x", "y", "unlabelled"}} {
			p.genkit(append([]string{"eval:extractData", "echo", "--output", "extracted.json"}, strings.Fields(args)...)...)
			var rows []struct {
				Input, Output string
				TraceIDs      []string `json:"traceIds"`
			}
			p.readJSON("extracted.json", &rows)
			var inputs []string
			for _, row := range rows {
				inputs = append(inputs, row.Input)
				assert.Equal(t, row.Input, row.Output)
				assert.Len(t, row.TraceIDs, 1)
			}
			assert.ElementsMatch(t, want, inputs, args)
		}
	})
	t.Run("eval:flow and eval:run score with an evaluator of the app", func(t *testing.T) {
		p.write("cases.json", `[{"testCaseId":"same","input":"x","reference":"x"},{"testCaseId":"other","input":"y","reference":"z"}]`)
		p.genkit("eval:flow", "echo", "--input", "cases.json", "--evaluators", "devui/exact", "--force", "--output", "scores.json")
		p.write("answered.json", `[{"testCaseId":"same","input":"x","output":"x","reference":"x"},{"testCaseId":"other","input":"y","output":"y","reference":"z"}]`)
		p.genkit("eval:run", "answered.json", "--evaluators", "devui/exact", "--force", "--output", "scores-run.json")
		for _, file := range []string{"scores.json", "scores-run.json"} {
			var scores []struct {
				TestCaseID string `json:"testCaseId"`
				Metrics    []struct {
					Evaluator, Status string
					Score             int
				} `json:"metrics"`
			}
			p.readJSON(file, &scores)
			got := map[string]string{}
			for _, row := range scores {
				require.Len(t, row.Metrics, 1, file)
				assert.Equal(t, "/evaluator/devui/exact", row.Metrics[0].Evaluator)
				got[row.TestCaseID] = row.Metrics[0].Status
			}
			assert.Equal(t, map[string]string{"same": "PASS", "other": "FAIL"}, got, file)
		}
		p.genkit("eval:run", "answered.json", "--evaluators", "devui/exact", "--force", "--output-format", "csv", "--output", "scores.csv", "--batchSize", "2")
		assert.Contains(t, p.read("scores.csv"), "devui/exact")
	})
	t.Run("log:list shows the lines of a run", func(t *testing.T) {
		id := traceID(t, p.genkit("flow:run", "echo", `"four"`))
		said := p.genkit("log:list", "--trace-id", id, "--format", "jsonl")
		assert.Contains(t, said, `"echoing"`)
		assert.Contains(t, said, id)
	})
	t.Run("trace:list lists the runs", func(t *testing.T) {
		said := p.genkit("trace:list")
		assert.Contains(t, said, "Name:     echo")
		assert.Contains(t, said, "Status:   error")
	})
	t.Run("dev:test-model tests the scripted model", func(t *testing.T) {
		p.write("suite.json", suite)
		assert.Contains(t, p.genkit("dev:test-model", "--from-file", "suite.json"), "Tests Completed: 4 Passed, 0 Failed")
	})
	app.stop()
	files, err := filepath.Glob(filepath.Join(p.dir, ".genkit", "runtimes", "*.json"))
	require.NoError(t, err)
	assert.Empty(t, files, "the runtime file is taken back")
}

const suite = `{"model": "test/scripted", "tests": [
  {"name": "tool request", "input": {
    "messages": [{"role": "user", "content": [{"text": "weather?"}]}],
    "tools": [{"name": "weather", "description": "w", "inputSchema": {"type": "object"}}],
    "config": {"script": [{"message": {"role": "model", "content": [{"toolRequest": {"name": "weather", "ref": "1", "input": {"city": "Paris"}}}]}}]}},
   "validators": ["has-tool-request:weather"]},
  {"name": "streamed text", "stream": true, "input": {"messages": [{"role": "user", "content": [{"text": "Genkit"}]}]},
   "validators": ["stream-text-includes:Genkit", "text-not-empty"]},
  {"name": "structured output", "input": {
    "messages": [{"role": "user", "content": [{"text": "John"}]}],
    "output": {"format": "json", "schema": {"type": "object"}, "constrained": true},
    "config": {"script": [{"message": {"role": "model", "content": [{"text": "{\"name\":\"John\"}"}]}}]}},
   "validators": ["valid-json"]},
  {"name": "many turns", "input": {"messages": [
    {"role": "user", "content": [{"text": "a"}]}, {"role": "model", "content": [{"text": "b"}]}, {"role": "user", "content": [{"text": "again"}]}]},
   "validators": ["text-includes:again"]}]}`

// The command line starts the app itself, which then speaks version 2.
func TestCommandLineStartsTheApp(t *testing.T) {
	p := newProject(t)
	app := []string{"--", binary(t, "../../examples/devui"), "calc.wasm"}
	run := func(args ...string) string { return p.genkit(append(args, app...)...) }

	said := run("flow:run", "sum", `{"a":1,"b":2}`)
	assert.Contains(t, said, "The sum is 3.")
	traceID(t, said)
	assert.Regexp(t, `1\n2\n3\nResult:\ncounted to 3`, run("flow:run", "-s", "count", "3"))
	said = run("flow:run", "fail", `"x"`)
	assert.Contains(t, said, "FAILED_PRECONDITION: this flow always fails")
	p.write("batch.json", `["x","y"]`)
	run("flow:batchRun", "echo", "batch.json", "--output", "batch-out.json")
	assert.Contains(t, p.read("batch-out.json"), `"output": "y"`)
	p.write("cases.json", `[{"testCaseId":"same","input":"x","reference":"x"}]`)
	run("eval:flow", "echo", "--input", "cases.json", "--evaluators", "devui/exact", "--force", "--output", "scores.json")
	assert.Contains(t, p.read("scores.json"), `"status": "PASS"`)
	p.write("suite.json", suite)
	said = p.genkit("dev:test-model", "--from-file", "suite.json", binary(t, "../../examples/devui"), "calc.wasm")
	assert.Contains(t, said, "Tests Completed: 4 Passed, 0 Failed")
}

// An app that was killed leaves its file behind; the next one is found all the same.
func TestAStaleRuntimeFileDoesNoHarm(t *testing.T) {
	p := newProject(t)
	first := p.app()
	require.NoError(t, first.cmd.Process.Kill())
	<-first.done
	first.done <- nil
	files, err := filepath.Glob(filepath.Join(p.dir, ".genkit", "runtimes", "*.json"))
	require.NoError(t, err)
	require.Len(t, files, 1, "killed, it could not take its file back")
	p.app()
	assert.Contains(t, p.genkit("flow:run", "echo", `"found"`), "found")
	_, err = os.Stat(files[0])
	assert.ErrorIs(t, err, os.ErrNotExist, "the command line took the stale one away")
}

// genkit start: the Dev UI's own server sees the Wasm tool and runs it.
func TestDevUIServer(t *testing.T) {
	for _, version := range [][]string{nil, {"--experimental-reflection-v2"}} {
		t.Run(strings.Join(append([]string{"version"}, version...), " "), func(t *testing.T) {
			p := newProject(t)
			port := freePort(t)
			args := append([]string{"start", "--port", port}, version...)
			args = append(args, "--", binary(t, "../../cmd/genkit-wasm"), "dev", "--addr", "127.0.0.1:0", "--load", "calc.wasm", "--data", "data")
			start := p.start(p.command(t.Context(), args...))
			start.saysSoon("listening on http://")
			api := "http://localhost:" + port + "/api/"
			soon(t, "the Dev UI lists the Wasm tool", func() bool {
				code, body := call(t, "GET", api+"listActions?input={}", nil)
				return code == 200 && strings.Contains(body, `"/tool/calc/add"`)
			})
			_, body := call(t, "GET", api+"listActions?input={}", nil)
			var listed struct {
				Result struct {
					Data map[string]struct {
						InputSchema map[string]any `json:"inputSchema"`
						Metadata    map[string]any `json:"metadata"`
					} `json:"data"`
				} `json:"result"`
			}
			require.NoError(t, json.Unmarshal([]byte(body), &listed))
			assert.Equal(t, "object", listed.Result.Data["/tool/calc/add"].InputSchema["type"])
			assert.Contains(t, listed.Result.Data, "/model/test/scripted")
			assert.Contains(t, listed.Result.Data, "/util/generate")

			code, body := call(t, "POST", api+"runAction", map[string]any{"key": "/tool/calc/add", "input": map[string]int{"a": 40, "b": 2}})
			assert.Equal(t, 200, code)
			var ran struct {
				Result    any `json:"result"`
				Telemetry struct {
					TraceID string `json:"traceId"`
				} `json:"telemetry"`
			}
			require.NoError(t, json.Unmarshal([]byte(body), &ran), body)
			assert.Equal(t, map[string]any{"sum": 42.0}, ran.Result)
			_, body = call(t, "GET", api+`getTrace?input={"traceId":"`+ran.Telemetry.TraceID+`"}`, nil)
			assert.Contains(t, body, `"displayName":"calc/add"`)
			assert.Contains(t, body, "wasm.fuel.consumed")

			_, body = call(t, "POST", api+"streamAction", map[string]any{"key": "/util/generate", "input": json.RawMessage(
				`{"model":"test/scripted","messages":[{"role":"user","content":[{"text":"one two"}]}],"tools":["calc/add"]}`)})
			lines := strings.Split(strings.TrimSpace(body), "\n")
			assert.Greater(t, len(lines), 2, body)
			assert.Contains(t, lines[len(lines)-1], `"finishReason":"stop"`)

			_, body = call(t, "GET", api+`listValues?input={"type":"middleware"}`, nil)
			assert.Contains(t, body, `"retry"`)
			code, body = call(t, "POST", api+"runAction", map[string]any{"key": "/tool/calc/add", "input": map[string]any{"a": "no"}})
			assert.NotEqual(t, 200, code)
			assert.Contains(t, body, "INVALID_ARGUMENT")
			_, body = call(t, "GET", api+`listTraces?input={"limit":10}`, nil)
			assert.Contains(t, body, ran.Telemetry.TraceID)
		})
	}
}

// ui:start connects to an app that runs already.
func TestUIStartFindsARunningApp(t *testing.T) {
	p := newProject(t)
	p.app()
	port := freePort(t)
	said := p.genkit("ui:start", "--port", port)
	t.Cleanup(func() { p.command(t.Context(), "ui:stop").Run() })
	assert.Contains(t, said, port)
	api := "http://localhost:" + port + "/api/"
	soon(t, "the Dev UI lists the flow", func() bool {
		code, body := call(t, "GET", api+"listActions?input={}", nil)
		return code == 200 && strings.Contains(body, `"/flow/echo"`)
	})
	_, body := call(t, "GET", api+"getActiveRuntimes", nil)
	assert.Contains(t, body, `"name":"devui"`)

	// A run that would never end is stopped by its trace, as the Dev UI's button does it.
	trace, answer := make(chan string, 1), make(chan string, 1)
	go func() {
		defer close(trace)
		defer close(answer)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api+"streamAction", strings.NewReader(`{"key":"/flow/wait","input":""}`))
		if err != nil {
			return
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		trace <- resp.Header.Get("X-Genkit-Trace-Id")
		raw, _ := io.ReadAll(resp.Body)
		answer <- string(raw)
	}()
	code, body := call(t, "POST", api+"cancelAction", map[string]string{"traceId": <-trace})
	assert.Equal(t, 200, code, body)
	assert.Contains(t, <-answer, "Action was cancelled")
	p.genkit("ui:stop")
	soon(t, "the Dev UI ends", func() bool {
		code, _ := call(t, "GET", api+"__health", nil)
		return code == 0
	})
}

// The command line as an MCP server, which lists and runs flows of the app it starts.
func TestCommandLineAsMCPServer(t *testing.T) {
	p := newProject(t)
	p.app()
	home := ""
	for _, kv := range p.env {
		if v, ok := strings.CutPrefix(kv, "HOME="); ok {
			home = v
		}
	}
	docs := filepath.Join(home, ".genkit", "docs", "1.43.0") // it would fetch its manual otherwise
	require.NoError(t, os.MkdirAll(docs, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(docs, "bundle.json"), []byte("{}"), 0o600))
	cmd := p.command(t.Context(), "mcp")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	server := p.start(cmd)
	say := func(line string) {
		_, err := in.Write([]byte(line + "\n"))
		require.NoError(t, err)
	}
	say(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"faces","version":"1"}}}`)
	server.saysSoon(`"id":1`)
	say(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	say(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list_flows","arguments":{}}}`)
	assert.Contains(t, server.saysSoon(`"id":2`), "echo")
	say(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"run_flow","arguments":{"flowName":"sum","input":"{\"a\":20,\"b\":3}"}}}`)
	assert.Contains(t, server.saysSoon(`"id":3`), "The sum is 23.")
}
