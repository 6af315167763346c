package frontmatter_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/frontmatter"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
)

// The scalars are those of YAML 1.2's core schema, which the JavaScript library reads.
func TestScalarsAreThoseOfYAML12(t *testing.T) {
	for in, want := range map[string]string{
		"a: yes": `"yes"`, "a: on": `"on"`, "a: 2024-01-01": `"2024-01-01"`, "a: 012": `12`, "a: 0o17": `15`, "a: 0x1F": `31`, "a: +1": `1`, "a: -.5": `-0.5`,
		"a: 1.": `1`, "a: 1_000": `"1_000"`, "a: 1e3": `1e3`, "a: 12345678901234567890.10": `12345678901234567890.10`, "a: ~": `null`, "a:": `null`, "a: Null": `null`,
		"a: TRUE": `true`, "a: tRUE": `"tRUE"`, "a: '1'": `"1"`, `a: "\u00e9"`: `"é"`, "a: !!str 1": `"1"`, "a: !!int 1": `1`, "a: |\n  x\n  y": `"x\ny"`, "a: >\n  x\n  y\n": `"x y\n"`,
		"a: {b: [1, {c: d}]}": `{"b":[1,{"c":"d"}]}`, "a: &x {b: 1}\nb: *x": `{"b":1}`, "<<: {a: 1}\na: 2": `2`, "1: x\na: y": `"y"`, "a: 1:30": `"1:30"`, "a: 0b11": `"0b11"`,
		"a: =": `"="`, "a: 'it''s'": `"it's"`,
	} {
		h, err := frontmatter.Decode(in, 1)
		require.NoError(t, err, in)
		v, ok := h.Get("a")
		require.True(t, ok, in)
		assert.Equal(t, want, string(value.Encode(v)), in)
		assert.True(t, json.Valid(value.Encode(h.Object)), in)
	}
}

func TestErrorsTellTheLineOfTheFile(t *testing.T) {
	for in, line := range map[string]int{"a: 1\nb: [": 3, "a: 1\na: 2": 3, "a: 1\nb:\n  c: .nan": 4, "a: \"x": 2, "a: b: c": 2, "\ta: 1": 2} {
		_, err := frontmatter.Decode(in, 2)
		var e *frontmatter.Error
		require.ErrorAs(t, err, &e, in)
		assert.InDelta(t, line, e.Line, 1, "%s: %v", in, err)
	}
	h, err := frontmatter.Decode("a: 1\nb:\n  c:\n    d: x\n", 5)
	require.NoError(t, err)
	assert.Equal(t, 8, h.Line("b", "c", "d"))
	assert.Equal(t, 7, h.Line("b", "c", "nothing"))
	assert.Equal(t, 5, h.Line("nothing"))
}

// FuzzDecode: what is read can be JSON, and reading ends.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"a: [1, &x {b: *x}]", "? {a: b}\n: c", "a: |+2\n   x\n", "--- a\n...\n", "%TAG ! tag:x,2000:\n--- !a b", "a: !!binary ==", "&a a: *a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, head string) {
		doc := frontmatter.Split("---\n" + head + "\n---\nbody")
		if doc.Line > 0 && doc.BodyLine <= doc.Line-1 {
			t.Fatalf("%q: lines %d and %d", head, doc.Line, doc.BodyLine)
		}
		h, err := frontmatter.Decode(head, 1)
		if err != nil {
			return
		}
		if out := value.Encode(h.Object); !json.Valid(out) {
			t.Fatalf("%q became %q", head, out)
		}
		_ = h.Line("a", "b")
	})
}
