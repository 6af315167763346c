package hosttest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

var update = flag.Bool("update", false, "write pdk/vectors/modules anew")

// moduleVector is a module and what a host does with it; pdk/vectors/README.md explains
// the fields.
type moduleVector struct {
	Name       string          `json:"name"`
	Says       string          `json:"says"`
	Clauses    []string        `json:"clauses"`
	Wasm       string          `json:"wasm"` // base64
	Descriptor json.RawMessage `json:"descriptor,omitempty"`
	Policy     json.RawMessage `json:"policy,omitempty"`
	Refused    string          `json:"refused,omitempty"` // the code
	Runs       []moduleRun     `json:"runs,omitempty"`
}

type moduleRun struct {
	Key    string          `json:"key"`
	Input  json.RawMessage `json:"input,omitempty"`
	Repeat bool            `json:"repeat,omitempty"` // once more, with another output
	Expect moduleExpect    `json:"expect"`
}

type moduleExpect struct {
	Output   json.RawMessage `json:"output,omitempty"` // a part of it
	Code     string          `json:"code,omitempty"`
	Contains string          `json:"contains,omitempty"` // text of the output, or of the error's message
	Lacks    string          `json:"lacks,omitempty"`
	Chunks   json.RawMessage `json:"chunks,omitempty"`
}

const moduleVectors = pdk + "/vectors/modules"

func TestModuleVectorsHold(t *testing.T) {
	if *update {
		writeModuleVectors(t)
	}
	if testing.Short() { // starting worker processes takes 3 s; make long does it
		holdModuleVectors(t, func(*wasmhost.Config) {})
		return
	}
	inBothModes(t, holdModuleVectors)
}

func holdModuleVectors(t *testing.T, configure func(*wasmhost.Config)) {
	t.Helper()
	reg := registry.New(nil)
	config := wasmhost.Config{Registry: func(string) (*registry.Registry, error) { return reg, nil }}
	configure(&config)
	host, err := wasmhost.New(t.Context(), config)
	require.NoError(t, err)
	defer host.Close(context.WithoutCancel(t.Context()))
	require.NoError(t, reg.Register(generate.Action(reg)))
	require.NoError(t, reg.AddProvider(host.Provider(wasmhost.DefaultTenant)))
	for _, v := range readModuleVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			wasm, err := base64.StdEncoding.DecodeString(v.Wasm)
			require.NoError(t, err)
			policy := v.Policy
			if policy == nil {
				policy = json.RawMessage("{}")
			}
			_, err = host.Load(t.Context(), wasmhost.DefaultTenant, wasmhost.Upload{Wasm: wasm, Descriptor: v.Descriptor, Policy: policy})
			if v.Refused != "" {
				require.Equal(t, v.Refused, status.Of(err).String(), "%v", err)
				return
			}
			require.NoError(t, err)
			for _, r := range v.Runs {
				r.run(t, reg)
			}
		})
	}
}

func (r *moduleRun) run(t *testing.T, reg *registry.Registry) {
	t.Helper()
	key, err := action.ParseKey(r.Key)
	require.NoError(t, err)
	a, err := reg.Lookup(t.Context(), key)
	require.NoError(t, err)
	chunks := [][]byte{}
	out, err := a.RunJSON(t.Context(), r.Input, func(chunk json.RawMessage) error {
		chunks = append(chunks, bytes.Clone(chunk))
		return nil
	})
	text := string(out)
	if r.Expect.Code != "" {
		require.Equal(t, r.Expect.Code, status.Of(err).String(), "%s: %v %s", r.Key, err, out)
		text = status.Convert(err).Message
	} else {
		require.NoError(t, err, r.Key)
	}
	if r.Expect.Output != nil {
		var want, got any
		require.NoError(t, json.Unmarshal(r.Expect.Output, &want))
		require.NoError(t, json.Unmarshal(out, &got))
		assert.True(t, holds(want, got), "%s: got %s, want %s", r.Key, out, r.Expect.Output)
	}
	if r.Expect.Chunks != nil {
		assert.JSONEq(t, string(r.Expect.Chunks), "["+string(bytes.Join(chunks, []byte(",")))+"]")
	}
	assert.Contains(t, text, r.Expect.Contains, r.Key)
	if r.Expect.Lacks != "" {
		assert.NotContains(t, text, r.Expect.Lacks, r.Key)
	}
	if r.Repeat {
		again, err := a.RunJSON(t.Context(), r.Input, nil)
		require.NoError(t, err)
		assert.NotEqual(t, string(out), string(again))
	}
}

// holds reports whether got has what want names; lists have equally many elements.
func holds(want, got any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		for key, value := range w {
			other, found := g[key]
			if !found || !holds(value, other) {
				return false
			}
		}
		return ok
	case []any:
		g, ok := got.([]any)
		return ok && slices.EqualFunc(w, g, holds)
	}
	return want == got
}

func readModuleVectors(t *testing.T) []moduleVector {
	t.Helper()
	files, err := filepath.Glob(moduleVectors + "/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := make([]moduleVector, len(files))
	for i, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		require.NoError(t, dec.Decode(&all[i]), file)
		require.Equal(t, strings.TrimSuffix(filepath.Base(file), ".json"), all[i].Name)
	}
	return all
}

func writeModuleVectors(t *testing.T) {
	t.Helper()
	for _, v := range vectorModules() {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		require.NoError(t, enc.Encode(v), v.Name)
		require.NoError(t, os.WriteFile(filepath.Join(moduleVectors, v.Name+".json"), b.Bytes(), 0o600))
	}
}

// The files are those of the modules that are assembled here.
func TestModuleVectorsAreUpToDate(t *testing.T) {
	stored := map[string]moduleVector{}
	for _, v := range readModuleVectors(t) {
		stored[v.Name] = v
	}
	for _, v := range vectorModules() {
		assert.Equal(t, v.Wasm, stored[v.Name].Wasm, "%s: go test ./wasmhost/hosttest -run ModuleVectors -update", v.Name)
		delete(stored, v.Name)
	}
	assert.Empty(t, stored)
}

var clause = regexp.MustCompile(`(?:^|[^\\])\[(\d+\.\d+)\]`)

// Each clause of the contract has a vector, and each vector is of a clause.
func TestEachClauseHasAVector(t *testing.T) {
	page, err := os.ReadFile(pdk + "/abi.md")
	require.NoError(t, err)
	shown := map[string]int{}
	for _, m := range clause.FindAllStringSubmatch(string(page), -1) {
		_, twice := shown[m[1]]
		assert.False(t, twice, "clause %s is there twice", m[1])
		shown[m[1]] = 0
	}
	require.Greater(t, len(shown), 50)
	for _, pattern := range []string{"/vectors/*.json", "/vectors/capabilities/*.json", "/vectors/modules/*.json", "/vectors/plugin/*.json"} {
		files, err := filepath.Glob(pdk + pattern)
		require.NoError(t, err)
		for _, file := range files {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			var v struct {
				Clauses []string `json:"clauses"`
			}
			require.NoError(t, json.Unmarshal(raw, &v), file)
			assert.NotEmpty(t, v.Clauses, "%s names no clause", file)
			for _, c := range v.Clauses {
				_, known := shown[c]
				assert.True(t, known, "%s: there is no clause %s", file, c)
				shown[c]++
			}
		}
	}
	var without []string
	for c, n := range shown {
		if n == 0 {
			without = append(without, c)
		}
	}
	slices.Sort(without)
	assert.Empty(t, without, "clauses without a vector")
}
