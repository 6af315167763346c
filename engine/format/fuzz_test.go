package format_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

var fuzzSeeds = []string{
	"```json\n{}\n```", `{a:'x',}`, `[0x1,+2,.5]`, `{"a":"\u00`, `[{"a":1`, "{\"a\":\"\x00\xff", `[[1],[2,`, `"a`, `{"a":"\ud83d\ude`, "```\n[\"```\"]\n```",
	`[1,@,{"a":@}, "x"y, 2]`, "{\"a\":1}\n{b:2}\n", `// c` + "\n[/**/1]", `{"a":{"b":[tr`, "'red'", "\u00a0{\u00a0}", `{"a" : 1e5, "b":5.e1, "c":-0x1F}`,
	"\"]`\n[\"`````\"]`\n[\"``\"``\n```",
}

func FuzzExtract(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := format.Extract(text)
		if !ok {
			if schema.Check([]byte(text)) == nil {
				t.Fatalf("%q is JSON and was not found", text)
			}
			return
		}
		if err := schema.Check(got); err != nil {
			t.Fatalf("%q gave %q: %v", text, got, err)
		}
		if again, _ := format.Extract(string(got)); !bytes.Equal(again, bytes.TrimSpace(got)) {
			t.Fatalf("%q gave %q, that %q", text, got, again)
		}
	})
}

func FuzzComplete(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := format.Complete(text)
		if ok {
			if err := schema.Check(got); err != nil {
				t.Fatalf("%q gave %q: %v", text, got, err)
			}
		}
		whole, found := format.Extract(text)
		if !found {
			return
		}
		if !ok {
			if c := whole[0]; c != '-' && (c < '0' || c > '9') {
				t.Fatalf("%q: %q was found in the end and not before", text, whole)
			}
			return
		}
		var a, b bytes.Buffer
		if json.Compact(&a, whole) != nil || json.Compact(&b, got) != nil || a.String() != b.String() {
			t.Fatalf("%q is %q in the end and %q before", text, whole, got)
		}
	})
}

func FuzzSplits(f *testing.F) {
	for i, s := range fuzzSeeds {
		f.Add(s, uint64(i))
	}
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		pieces := cutAt(text, func(int) bool { return r.IntN(6) == 0 })
		for _, c := range splitTexts {
			checkSplit(t, c.format, c.schema, pieces)
		}
	})
}

func FuzzThoughts(f *testing.F) {
	for i, form := range marked {
		f.Add(strings.ReplaceAll(form, "%s", `{"x":1}`)+`{"x":"<think>"}`, uint64(i))
	}
	f.Add(`["a\\"]<|channel|>final<|message|>[ [THIN`, uint64(1))
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		at := format.Reading()(text)
		read, so, last := format.Reading(), "", ""
		r := rand.New(rand.NewPCG(seed, 1))
		for _, piece := range cutAt(text, func(int) bool { return r.IntN(4) == 0 }) {
			so += piece
			last = read(so)
			if got := format.Reading()(so); got != last {
				t.Fatalf("%q in pieces gave %q, at once %q", so, last, got)
			}
		}
		if text != "" && last != at {
			t.Fatalf("%q in pieces gave %q, at once %q", text, last, at)
		}
		if said := format.Answer(text); len(said) > len(text) {
			t.Fatalf("%q gave %q", text, said)
		}
		for _, c := range []string{"json", "array", "jsonl", "enum"} {
			if raw := parse(t, handler(t, c, ""), text); raw != "" && schema.Check([]byte(raw)) != nil {
				t.Fatalf("%s: %q gave %q", c, text, raw)
			}
		}
	})
}
