//go:build test262

package wasmhost_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/yamljson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// evaluating is a script whose tool evaluates a test of test262 as a script of its own.
const evaluating = `
const evaluate = eval;
globalThis.$262 = { global: globalThis, evalScript: (text) => evaluate(text), detachArrayBuffer: (buffer) => { buffer.transfer(); }, gc() {}, agent: {} };
globalThis.print = () => {};
tool({ name: "run", run: ({ source, async }) => {
  const told = (e) => ({ name: e?.constructor?.name ?? typeof e, message: String(e?.message ?? e) });
  try {
    if (!async) return void evaluate(source);
    return new Promise((resolve) => {
      globalThis.$DONE = (e) => resolve(e === undefined || e === null || e === false ? null : told(e));
      try { evaluate(source); } catch (e) { resolve(told(e)); }
    });
  } catch (e) {
    return told(e);
  }
} });`

// unsupported are features of test262 that scripts don't have: what the engine is built without, what is no part of ES2023, and what needs
// several realms or files.
var unsupported = strings.Fields(` cross-realm decorators explicit-resource-management import-defer import-attributes json-modules source-phase-imports
	source-phase-imports-module-source dynamic-import import.meta Temporal ShadowRealm SharedArrayBuffer Atomics immutable-arraybuffer import-text import-bytes
	tail-call-optimization regexp-modifiers regexp-duplicate-named-groups canonical-tz`)

// frontMatter is what a test says of itself.
type frontMatter struct {
	Flags    []string `json:"flags"`
	Features []string `json:"features"`
	Includes []string `json:"includes"`
	Negative *struct {
		Phase string `json:"phase"`
		Type  string `json:"type"`
	} `json:"negative"`
}

// TestTest262 runs the language part of test262 (https://github.com/tc39/test262), of which TEST262 names a copy, in the engine of
// scripts: each test in a call of its own, by an indirect eval, in sloppy and in strict mode as it says. It logs what fails, by folder.
func TestTest262(t *testing.T) {
	root := os.Getenv("TEST262")
	require.NotEmpty(t, root, "TEST262 names a copy of https://github.com/tc39/test262")
	h := scriptHost(t, nil)
	_, err := h.Load(t.Context(), tenant, scripted("t", evaluating))
	require.NoError(t, err)
	files := make(chan string)
	var mu sync.Mutex
	passed, skipped, failed, folders, examples := 0, 0, 0, map[string]int{}, map[string]string{}
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for file := range files {
				outcomes := test262(t, h, root, file)
				mu.Lock()
				if outcomes == nil {
					skipped++
				}
				for _, problem := range outcomes {
					if problem == "" {
						passed++
						continue
					}
					failed++
					folder := filepath.Dir(strings.TrimPrefix(file, root+"/test/"))
					folders[folder]++
					examples[folder] = filepath.Base(file) + ": " + problem
				}
				mu.Unlock()
			}
		})
	}
	err = filepath.WalkDir(filepath.Join(root, "test", "language"), func(file string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(file, ".js") && !strings.Contains(file, "_FIXTURE") {
			files <- file
		}
		return err
	})
	close(files)
	wg.Wait()
	require.NoError(t, err)
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		t.Logf("%d of %s, such as %s", folders[folder], folder, examples[folder])
	}
	share := 100 * float64(passed) / float64(passed+failed)
	t.Logf("%d passed, %d failed: %.2f %%; %d files are of what scripts don't have", passed, failed, share, skipped)
	assert.Greater(t, share, 99.0)
}

// test262 runs one test and returns what is wrong with it in each mode, "" for nothing; nil where it is not for scripts.
func test262(t *testing.T, h *wasmhost.Host, root, file string) []string {
	raw, err := os.ReadFile(file)
	if !assert.NoError(t, err) {
		return nil
	}
	source := string(raw)
	_, rest, _ := strings.Cut(source, "/*---")
	text, _, _ := strings.Cut(rest, "---*/")
	var about frontMatter
	node, err := yamljson.Read([]byte(strings.ReplaceAll(text, "\r", "\n")))
	if !assert.NoError(t, err, file) {
		return nil
	}
	converted, err := yamljson.JSON(node, nil)
	if !assert.NoError(t, err, file) || !assert.NoError(t, json.Unmarshal(converted, &about), file) {
		return nil
	}
	has := func(flag string) bool { return slices.Contains(about.Flags, flag) }
	if has("module") || has("CanBlockIsFalse") || has("CanBlockIsTrue") || slices.ContainsFunc(about.Features, func(f string) bool { return slices.Contains(unsupported, f) }) {
		return nil
	}
	harness := ""
	if !has("raw") {
		names := append([]string{"assert.js", "sta.js"}, about.Includes...)
		for _, name := range names {
			part, err := os.ReadFile(filepath.Join(root, "harness", name))
			if !assert.NoError(t, err) {
				return nil
			}
			harness += string(part) + "\n"
		}
	}
	source = harness + source // one text: what it declares by const and let ends with an evaluation
	modes := []string{source, "\"use strict\";\n" + source}
	switch {
	case has("onlyStrict"):
		modes = modes[1:]
	case has("noStrict"), has("raw"):
		modes = modes[:1]
	}
	var outcomes []string
	for _, mode := range modes {
		outcomes = append(outcomes, outcome262(t, h, mode, has("async"), &about))
	}
	return outcomes
}

func outcome262(t *testing.T, h *wasmhost.Host, source string, async bool, about *frontMatter) string {
	in, err := json.Marshal(map[string]any{"source": source, "async": async})
	if err != nil {
		return err.Error()
	}
	out, err := call(t, h, "t/run", string(in))
	if err != nil {
		return err.Error()
	}
	var thrown *struct{ Name, Message string }
	if err := json.Unmarshal([]byte(out), &thrown); err != nil {
		return err.Error()
	}
	switch {
	case about.Negative != nil && thrown == nil:
		return "nothing is thrown"
	case about.Negative != nil && thrown.Name != about.Negative.Type:
		return fmt.Sprintf("%s instead of %s: %.80s", thrown.Name, about.Negative.Type, thrown.Message)
	case about.Negative == nil && thrown != nil:
		return fmt.Sprintf("%s: %.80s", thrown.Name, thrown.Message)
	}
	return ""
}
