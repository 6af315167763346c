package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/pdk/go/pdktest"
)

func TestTools(t *testing.T) {
	for _, c := range []struct {
		name   string
		tool   func() int32
		input  string
		output string
	}{
		{"accents are dropped", exportSlugify, `{"text":"Héllo, Wörld!"}`, `{"slug":"hello-world"}`},
		{"another separator", exportSlugify, `{"text":" a  b--c ","separator":"_"}`, `{"slug":"a_b_c"}`},
		{"apostrophes and combining accents", exportSlugify, `{"text":"Don’t e\u0301crire"}`, `{"slug":"dont-ecrire"}`},
		{"other scripts stay", exportSlugify, `{"text":"日本 Straße 42"}`, `{"slug":"日本-strasse-42"}`},
		{"nothing to keep", exportSlugify, `{"text":"?!"}`, `{"slug":""}`},
		{"counts", exportWordcount, `{"text":"one two\nthrée\n"}`, `{"words":3,"lines":2,"characters":14}`},
		{"empty text", exportWordcount, `{"text":""}`, `{"words":0,"lines":0,"characters":0}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := pdktest.Call(c.tool, c.input, pdktest.Options{})
			if r.Output != c.output {
				t.Errorf("input %s: got %+v, want %s", c.input, r, c.output)
			}
		})
	}
}

func TestStreamWords(t *testing.T) {
	r := pdktest.Call(exportStreamWords, `{"text":"a b  c"}`, pdktest.Options{})
	if want := []string{`"a"`, `"b"`, `"c"`}; !reflect.DeepEqual(r.Chunks, want) || r.Output != `{"count":3}` {
		t.Errorf("got %+v", r)
	}
}

func TestDescribe(t *testing.T) {
	r := pdktest.Call(describe, "", pdktest.Options{})
	for _, want := range []string{`"abi":"genkit/1"`, `"name":"slugify"`, `"name":"wordcount"`, `"name":"stream_words"`, `"enum":["-","_","."]`} {
		if !strings.Contains(r.Output, want) {
			t.Errorf("no %s in %s", want, r.Output)
		}
	}
}
