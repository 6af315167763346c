package wasmhost_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// surface is a script whose tool lists what scripts find: of each global and each object the names of its members.
const surface = `
const es = new Set(("Object Function Error EvalError RangeError ReferenceError SyntaxError TypeError URIError InternalError AggregateError Iterator Array " +
  "parseInt parseFloat isNaN isFinite decodeURI decodeURIComponent encodeURI encodeURIComponent escape unescape Infinity NaN undefined Number Boolean String Math Reflect " +
  "Symbol eval globalThis Date RegExp JSON Proxy Map Set WeakMap WeakSet ArrayBuffer SharedArrayBuffer Uint8ClampedArray Int8Array Uint8Array Int16Array Uint16Array Int32Array " +
  "Uint32Array BigInt64Array BigUint64Array Float16Array Float32Array Float64Array DataView Atomics Promise BigInt WeakRef FinalizationRegistry").split(" "));
const names = (o) => Reflect.ownKeys(o).map((key) => (typeof key === "symbol" ? "[" + key.description + "]" : key));
const without = (list, ...gone) => list.filter((name) => !gone.includes(name) && name !== "[Symbol.toStringTag]");
const globals = names(globalThis).filter((name) => !es.has(name) && !name.startsWith("[") && name !== "__genkit");
const shared = new Set(Object.values(Object.getOwnPropertyDescriptors(globalThis)).map((d) => d.value?.prototype));
const members = (type, instance) => {
  const found = new Set(instance === undefined ? [] : Object.keys(instance));
  for (const name of without(names(type), "length", "name", "prototype")) found.add("static " + name);
  for (let p = type.prototype; p !== null; p = Object.getPrototypeOf(p)) {
    if (p !== type.prototype && shared.has(p)) break;
    for (const name of without(names(p), "constructor")) found.add(name);
  }
  return [...found];
};
const { genkit } = require("genkit");
const isClass = (value) => typeof value === "function" && value.prototype !== undefined && names(value.prototype).length > 1;
tool({ name: "surface", run: () => {
  const of = {
    Performance: names(performance), Console: names(console), Crypto: names(crypto), SubtleCrypto: names(crypto.subtle), Genkit: names(genkit), KV: names(genkit.kv), Schemas: names(s),
    Schema: without(names(Object.getPrototypeOf(s.any())), "constructor"), GenkitError: members(genkit.GenkitError, genkit.error("INTERNAL", "x", 1)),
  };
  for (const name of globals) if (isClass(globalThis[name])) of[name] = members(globalThis[name], name === "Event" ? new Event("x") : undefined);
  return { globals, exported: without(names(require("genkit")), "__esModule"), of };
} });
`

// TestTheTypesOfScriptsAreTrue compares pdk/ts/genkit-wasm.d.ts with what the engine has, both ways. That TypeScript takes
// it as it is meant is tested in test/faces.
func TestTheTypesOfScriptsAreTrue(t *testing.T) {
	h := scriptHost(t, nil)
	_, err := h.Load(t.Context(), tenant, scripted("m", surface))
	require.NoError(t, err)
	out, err := call(t, h, "m/surface", `null`)
	require.NoError(t, err)
	var there struct {
		Globals  []string            `json:"globals"`
		Exported []string            `json:"exported"`
		Of       map[string][]string `json:"of"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &there))
	text, err := os.ReadFile("../pdk/ts/genkit-wasm.d.ts")
	require.NoError(t, err)
	declared := readTypes(string(text))
	assert.Equal(t, sortedSet(there.Globals), sortedSet(declared.globals), "globals")
	assert.Equal(t, sortedSet(there.Exported), sortedSet(declared.exported), "what the module exports")
	require.Contains(t, there.Of, "Headers")
	for name, members := range there.Of {
		assert.Equal(t, sortedSet(members), sortedSet(declared.of[name]), name)
	}
}

func sortedSet(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// declarations are the names in a file of types that is laid out as ours is.
type declarations struct {
	globals, exported []string
	of                map[string][]string // members of classes and interfaces
}

var (
	globalLine   = regexp.MustCompile(`^declare (?:const|function|class) (\w+)`)
	exportLine   = regexp.MustCompile(`^  export (?:const|function|class) (\w+)|^  export (default) `)
	openingLine  = regexp.MustCompile(`^( *)(?:export |declare )?(?:class|interface) (\w+).*\{$`)
	memberLine   = regexp.MustCompile(`^(static |)(?:readonly |)(\[Symbol\.\w+\]|\w+)(?:<[^(]*>)?[(?:]`)
	privateStart = "private "
)

func readTypes(text string) declarations {
	d := declarations{of: map[string][]string{}}
	name, indent := "", ""
	for line := range strings.SplitSeq(text, "\n") {
		if m := globalLine.FindStringSubmatch(line); m != nil {
			d.globals = append(d.globals, m[1])
		}
		if m := exportLine.FindStringSubmatch(line); m != nil && !strings.Contains(line, "{ default }") {
			d.exported = append(d.exported, m[1]+m[2])
		}
		if m := openingLine.FindStringSubmatch(line); m != nil {
			indent, name = m[1]+"  ", m[2]
			continue
		}
		if !strings.HasPrefix(line, indent) || name == "" {
			name = ""
			continue
		}
		member := strings.TrimPrefix(line, indent)
		if m := memberLine.FindStringSubmatch(member); m != nil && m[2] != "constructor" && !strings.HasPrefix(member, privateStart) {
			d.of[name] = append(d.of[name], m[1]+m[2])
		}
	}
	return d
}
