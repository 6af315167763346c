package agent_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/agent"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
)

func TestPatchesAreThoseOfGenkit(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{`{"a":1}`, `{"a":1}`, `null`},
		{`{"a":1}`, `{"a":1.0}`, `null`},
		{`{"b":1,"a":1,"c":{"d":[]}}`, `{"a":2,"c":{"d":[],"e":null},"f":0}`, `[{"op":"replace","path":"/a","value":2},{"op":"remove","path":"/b"},{"op":"add","path":"/c/e","value":null},{"op":"add","path":"/f","value":0}]`},
		{`[1,2]`, `[1,3,4,5]`, `[{"op":"replace","path":"/1","value":3},{"op":"add","path":"/-","value":4},{"op":"add","path":"/-","value":5}]`},
		{`[1,2,3]`, `[2]`, `[{"op":"replace","path":"/0","value":2},{"op":"remove","path":"/2"},{"op":"remove","path":"/1"}]`},
		{`{"a":{}}`, `{"a":[]}`, `[{"op":"replace","path":"/a","value":[]}]`},
		{`{}`, `[]`, `[{"op":"replace","path":"","value":[]}]`},
		{``, `{"a":1}`, `[{"op":"replace","path":"","value":{"a":1}}]`},
		{`{"a":1}`, ``, `[{"op":"replace","path":"","value":null}]`},
		{`{"a/b":1,"~":2}`, `{"a/b":2,"~":3}`, `[{"op":"replace","path":"/a~1b","value":2},{"op":"replace","path":"/~0","value":3}]`},
		{`{"n":12345678901234567890}`, `{"n":12345678901234567891}`, `[{"op":"replace","path":"/n","value":12345678901234567891}]`},
		{`{"a":1}`, `{"a":null}`, `[{"op":"replace","path":"/a","value":null}]`},
	} {
		got, err := agent.Diff(json.RawMessage(c.from), json.RawMessage(c.to))
		require.NoError(t, err)
		raw, err := json.Marshal(got)
		require.NoError(t, err)
		assert.JSONEq(t, c.want, string(raw), "%s to %s", c.from, c.to)
	}
}

// FuzzDiff applies each patch to what it starts from.
func FuzzDiff(f *testing.F) {
	for _, seed := range [][2]string{{`{"a":[1,{"b":2}]}`, `{"a":[{"b":3}],"c":null}`}, {`[[1],[2]]`, `[[2],[1],3]`}, {`1`, `{"/":{"~":[]}}`}, {`{"":{"":0}}`, `{"":{"":1}}`}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, from, to string) {
		if !json.Valid([]byte(from)) || !json.Valid([]byte(to)) {
			return
		}
		patch, err := agent.Diff(json.RawMessage(from), json.RawMessage(to))
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(applied(t, decoded(t, from), patch))
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(decoded(t, to))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := agent.Diff(got, want); err != nil || len(again) > 0 {
			t.Fatalf("%s with %v comes to %s, want %s", from, patch, got, want)
		}
	})
}

func decoded(t *testing.T, text string) (v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	require.NoError(t, d.Decode(&v))
	return v
}

// applied applies a patch as RFC 6902 has it, as far as this package makes patches.
func applied(t *testing.T, doc any, patch []agent.PatchOp) any {
	t.Helper()
	for _, op := range patch {
		var v any
		if op.Value != nil {
			v = decoded(t, string(op.Value))
		}
		if op.Path == "" {
			require.Equal(t, "replace", op.Op)
			doc = v
			continue
		}
		path := strings.Split(op.Path[1:], "/")
		for i := range path {
			path[i] = strings.ReplaceAll(strings.ReplaceAll(path[i], "~1", "/"), "~0", "~")
		}
		doc = at(t, doc, path, op.Op, v)
	}
	return doc
}

func at(t *testing.T, doc any, path []string, op string, v any) any {
	t.Helper()
	name, last := path[0], len(path) == 1
	switch d := doc.(type) {
	case map[string]any:
		was, there := d[name]
		switch {
		case !last:
			require.True(t, there)
			d[name] = at(t, was, path[1:], op, v)
		case op == "remove":
			require.True(t, there)
			delete(d, name)
		default:
			require.Equal(t, op == "replace", there)
			d[name] = v
		}
		return d
	case []any:
		if name == "-" {
			require.True(t, last && op == "add")
			return append(d, v)
		}
		i, err := strconv.Atoi(name)
		require.NoError(t, err)
		require.Less(t, i, len(d))
		switch {
		case !last:
			d[i] = at(t, d[i], path[1:], op, v)
		case op == "remove":
			return append(d[:i:i], d[i+1:]...)
		default:
			require.Equal(t, "replace", op)
			d[i] = v
		}
		return d
	}
	t.Fatalf("there is nothing at %q", name)
	return nil
}

// What is streamed adds up to the state at the end.
func TestPatchesAddUp(t *testing.T) {
	states := []string{`{"list":[1,2,3]}`, `{"list":[1,3],"n":{"a":null}}`, `{"list":[],"n":{}}`, `"text"`, `{"list":[{"x":1}]}`}
	w := newWorld(t, agent.Config{}, func(run *agent.Run, _ *agent.Input) error {
		for _, s := range states {
			if err := run.Session().SetState(json.RawMessage(s)); err != nil {
				return err
			}
		}
		return nil
	})
	out, chunks := w.send(agent.Init{State: &agent.State{Custom: json.RawMessage(`{"old":true}`)}}, says("hi"), says("again"))
	var live any
	n := 0
	for _, c := range chunks {
		if c.CustomPatch != nil {
			live = applied(t, live, c.CustomPatch)
			raw, err := json.Marshal(live)
			require.NoError(t, err)
			assert.True(t, enginetest.SameJSON([]byte(states[n%len(states)]), raw), "%s", raw)
			n++
		}
	}
	assert.Equal(t, 2*len(states), n)
	assert.JSONEq(t, states[len(states)-1], string(out.State.Custom))
}
