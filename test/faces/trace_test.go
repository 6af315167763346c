//go:build unix

package faces_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

// The same flow, run by Genkit's JavaScript and by the example: what both post to a
// telemetry server has the same form, but for what this table names.
func TestTracesAreLikeGenkits(t *testing.T) {
	modules := nodeModules(t)
	theirs := shapesOf(t, func(p *project) *exec.Cmd {
		p.write("package.json", "{}")
		app, err := filepath.Abs("app.cjs")
		require.NoError(t, err)
		return exec.CommandContext(t.Context(), "node", app, modules)
	})
	ours := shapesOf(t, func(p *project) *exec.Cmd {
		return exec.CommandContext(t.Context(), binary(t, "../../examples/devui"), "calc.wasm")
	})
	assert.Equal(t, slices.Sorted(maps.Keys(theirs)), slices.Sorted(maps.Keys(ours)), "the same spans in the same places")
	for path, want := range theirs {
		assert.Equal(t, want, ours[path], path)
	}
}

// shapesOf runs the flow in an app and returns what its spans look like, by their path.
func shapesOf(t *testing.T, app func(p *project) *exec.Cmd) map[string]map[string]string {
	t.Helper()
	srv := telemetrytest.NewServer(t)
	p := newProject(t)
	p.start(app(p), "GENKIT_ENV=dev", "GENKIT_TELEMETRY_SERVER="+srv.URL, "GENKIT_REFLECTION_PORT="+freePort(t))
	var url string
	soon(t, "the app is announced", func() bool {
		files, err := filepath.Glob(filepath.Join(p.dir, ".genkit", "runtimes", "*.json"))
		require.NoError(t, err)
		if len(files) == 0 {
			return false
		}
		var info struct {
			URL string `json:"reflectionServerUrl"`
		}
		rel, err := filepath.Rel(p.dir, files[0])
		require.NoError(t, err)
		if json.Unmarshal([]byte(p.read(rel)), &info) != nil {
			return false
		}
		url = info.URL
		return true
	})
	all := map[string]map[string]string{}
	for _, run := range []struct {
		request string
		spans   int
	}{{`{"key":"/flow/sum","input":{"a":40,"b":2},"telemetryLabels":{"batch":"7"}}`, 7}, {`{"key":"/flow/fail","input":"x"}`, 1}} {
		_, body := call(t, "POST", url+"/api/runAction", json.RawMessage(run.request))
		var answer struct {
			Telemetry struct {
				TraceID string `json:"traceId"`
			} `json:"telemetry"`
			Error struct {
				Details struct {
					TraceID string `json:"traceId"`
				} `json:"details"`
			} `json:"error"`
		}
		require.NoError(t, json.Unmarshal([]byte(body), &answer), body)
		id := answer.Telemetry.TraceID + answer.Error.Details.TraceID
		soon(t, "the whole trace has come", func() bool {
			spans, _ := srv.Trace(id)["spans"].(map[string]any)
			return len(spans) >= run.spans
		})
		trace := srv.Trace(id)
		all["trace "+fmt.Sprint(trace["displayName"])] = shape(map[string]any{"startTime": trace["startTime"], "endTime": trace["endTime"]})
		spans, _ := trace["spans"].(map[string]any)
		for _, one := range spans {
			span, _ := one.(map[string]any)
			attrs, _ := span["attributes"].(map[string]any)
			key := fmt.Sprint(attrs["genkit:path"])
			for n := 2; all[key] != nil; n++ { // the second turn has the path of the first
				key = fmt.Sprint(attrs["genkit:path"], " ", n)
			}
			got := shape(span)
			parent, _ := span["parentSpanId"].(string)
			above, _ := spans[parent].(map[string]any)
			got["parent"] = fmt.Sprint(above["displayName"])
			maps.Copy(got, attributes(attrs))
			all[key] = got
		}
	}
	return all
}

// shape names the fields of a span and their types.
func shape(span map[string]any) map[string]string {
	out := map[string]string{}
	for name, v := range span {
		if name != "attributes" {
			out[name] = fmt.Sprintf("%T", v)
		}
	}
	for _, name := range []string{"displayName", "spanKind", "instrumentationLibrary", "sameProcessAsParentSpan"} {
		if v, ok := span[name]; ok {
			out[name] = fmt.Sprint(v)
		}
	}
	if status, ok := span["status"].(map[string]any); ok {
		out["status"] = fmt.Sprint(status["code"])
	}
	return out
}

// attributes returns those that both have: the values of what names a span, of the rest
// the types. Our own names and the conventions of OpenTelemetry stand beside Genkit's.
func attributes(attrs map[string]any) map[string]string {
	out := map[string]string{}
	for name, v := range attrs {
		switch {
		case strings.HasPrefix(name, "gen_ai."), strings.HasPrefix(name, "wasm."), name == "error.type",
			name == "genkit:metadata:inputBytes", name == "genkit:metadata:outputBytes":
		case name == "genkit:input", name == "genkit:output":
			out[name] = fmt.Sprintf("%T", v)
		default:
			out[name] = fmt.Sprint(v)
		}
	}
	return out
}
