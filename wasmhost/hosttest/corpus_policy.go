package hosttest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// policies are uploads of one module with them.
func policies(list ...string) func() map[string]wasmhost.Upload {
	return func() map[string]wasmhost.Upload {
		uploads := map[string]wasmhost.Upload{}
		for _, p := range list {
			up := raw(plain(nil))
			up.Policy = []byte(p)
			uploads[fmt.Sprintf("%.80s", p)] = up
		}
		return uploads
	}
}

// descriptors are uploads of one module with them, whole.
func descriptors(list ...string) func() map[string]wasmhost.Upload {
	return func() map[string]wasmhost.Upload {
		uploads := map[string]wasmhost.Upload{}
		for _, d := range list {
			up := raw(plain(nil))
			up.Descriptor = []byte(d)
			uploads[fmt.Sprintf("%.80s", d)] = up
		}
		return uploads
	}
}

// policyCases are about what comes with a binary, and about binaries that say two things.
func policyCases() []Case {
	bad := status.InvalidArgument
	lists := func(section func(n uint32) []byte, n uint32) []byte { return plain(section(n)) }
	named := func(name string) []byte {
		return w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Exports(w.Export("f", 0, 0), w.Export(name, 0, 0)), w.Code(w.Body("", 0x41, 0)))
	}
	return []Case{
		refuses("A34", "patterns that take megabytes of memory each", bad, func() map[string]wasmhost.Upload {
			one := `{"type":"string","pattern":"` + strings.Repeat(`(a{500}|b{500})`, 20) + `"}`
			up := raw(plain(nil))
			up.Descriptor = describes(`{"name":"f","inputSchema":{"anyOf":[` + strings.TrimSuffix(strings.Repeat(one+",", 60), ",") + `]}}`)
			return map[string]wasmhost.Upload{"it": up}
		}).seen("CVE-2022-24921"),
		refuses("A35", "grants beyond what the server allows", status.PermissionDenied, policies(
			`{"grants":{"clock":true}}`, `{"grants":{"files":[{"mount":"docs","path":"/docs","write":true}]}}`, `{"grants":{"http":[{"host":"*"}]}}`, `{"grants":{"secrets":{"OTHER":["api.example.com"]}}}`,
		)),
		refuses("A36", "policies that say a thing twice", bad, policies(
			`{"grants":{"kv":false},"grants":{"kv":true}}`, `{"limits":{"fuel":1},"limits":{"fuel":2}}`, `{"grants":{"kv":false,"kv":true}}`, `{"grants":{"kv":false},"\u0067rants":{"kv":true}}`,
		)).seen(earlier, "CVE-2017-12635"),
		refuses("A37", "policies in another case", bad, policies(`{"GRANTS":{"kv":true}}`, `{"grants":{"KV":true}}`, `{"grants":{"\u212av":true}}`, `{"Limits":{"fuel":1}}`)).seen(earlier),
		refuses("A38", "descriptors that say a thing twice, or in another case", bad, descriptors(
			`{"abi":"genkit/1","abi":"genkit/1","name":"m","tools":[{"name":"f"}]}`, `{"abi":"genkit/1","name":"m","Tools":[{"name":"f"}],"tools":[{"name":"f"}]}`, `{"abi":"genkit/1","name":"m","tools":[{"name":"f","EXPORT":"g"}]}`,
		)).seen(earlier),
		refuses("A39", "names of exports that hide what they are", bad, many(func() map[string][]byte {
			return map[string][]byte{"right to left": named("a\u202eb"), "escape": named("a\x1b[2Jb"), "new line": named("a\nb"), "isolate": named("\u2066a")}
		})).seen("CVE-2021-42574"),
		refuses("A40", "schemas whose names and values nobody sees", bad, func() map[string]wasmhost.Upload {
			uploads := map[string]wasmhost.Upload{}
			for _, schema := range []string{"{\"properties\":{\"a\u200b\":{\"type\":\"string\"}}}", "{\"enum\":[\"yes\",\"yes\u2060\"]}", "{\"const\":\"\U000e0041\"}"} {
				up := raw(plain(nil))
				up.Descriptor = describes(`{"name":"f","inputSchema":` + schema + `}`)
				uploads[quote(schema)] = up
			}
			return uploads
		}).seen("CVE-2021-42574"),
		refuses("A41", "two descriptors in one module", bad, func() map[string]wasmhost.Upload {
			up := raw(plain(nil, w.Custom("genkit.module", describes(`{"name":"f"}`)), w.Custom("genkit.module", describes(`{"name":"f","description":"another"}`))))
			up.Descriptor = nil
			return map[string]wasmhost.Upload{"it": up}
		}),
		refuses("A42", "hundreds of parameters and results", bad, many(func() map[string][]byte {
			return map[string][]byte{
				"parameters": w.Module(w.Types(w.FuncType("", "i"), w.FuncType(strings.Repeat("i", 1000), "")), w.Funcs(0), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body("", 0x41, 0))),
				"results":    w.Module(w.Types(w.FuncType("", "i"), w.FuncType("", strings.Repeat("i", 1000))), w.Funcs(0), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body("", 0x41, 0))),
			}
		})),
		refuses("A43", "a hundred thousand globals", bad, many(func() map[string][]byte {
			return map[string][]byte{"it": lists(func(n uint32) []byte {
				return w.Section(w.SecGlobal, w.U32(n), bytes.Repeat(w.Global("i", true, 0x41, 0), int(n)))
			}, 100_000)}
		})),
		refuses("A44", "a million entries for a table, in one segment and in many", bad, many(func() map[string][]byte {
			segment := cat([]byte{0}, i32(0), []byte{opEnd}, w.U32(1_000_000), make([]byte, 1_000_000))
			table := w.Tables(w.Table("r", w.Limits(10_000)))
			module := func(elements []byte) []byte {
				return w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), table, w.Exports(w.Export("f", 0, 0)), elements, w.Code(w.Body("", 0x41, 0)))
			}
			empty := cat([]byte{0}, i32(0), []byte{opEnd}, w.U32(0))
			return map[string][]byte{"one": module(w.Elements(segment)), "many": module(w.Section(w.SecElement, w.U32(300_000), bytes.Repeat(empty, 300_000)))}
		})),
		refuses("A45", "functions without a body, and bodies without a function", bad, many(func() map[string][]byte {
			return map[string][]byte{
				"more functions": w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0, 0), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body("", 0x41, 0))),
				"more bodies":    w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body("", 0x41, 0), w.Body("", 0x41, 0))),
				"no code":        w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Exports(w.Export("f", 0, 0))),
			}
		})).twin("as many of each", whole),
		refuses("A46", "a count of data segments that lies", bad, many(func() map[string][]byte {
			lies := func(n uint32) []byte {
				return w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Memories(w.Limits(1)), w.Exports(w.Export("f", 0, 0)), w.DataCount(n), w.Code(w.Body("", cat(dataDrop, i32(0))...)), w.Data(cat([]byte{1}, w.Name("x"))))
			}
			return map[string][]byte{"more": lies(2), "less": lies(0), "by far": lies(1 << 31)}
		})).twin("the right count", func() wasmhost.Upload {
			return raw(w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Memories(w.Limits(1)), w.Exports(w.Export("f", 0, 0)), w.DataCount(1), w.Code(w.Body("", cat(dataDrop, i32(0))...)), w.Data(cat([]byte{1}, w.Name("x")))))
		}),
		refuses("A47", "what there is not: functions, labels, locals, globals, types, tables", bad, many(func() map[string][]byte {
			return map[string][]byte{
				"a function": body(call(7), i32(0)), "a label": body([]byte{0x0c, 9}, i32(0)), "a local": body(localGet(9), drop, i32(0)), "a global": body(globalGet(3), drop, i32(0)),
				"a type": body([]byte{0x02, 5, opEnd}, i32(0)), "a table": body(i32(0), []byte{0x11, 0, 3}), "an export": w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Exports(w.Export("f", 0, 7)), w.Code(w.Body("", 0x41, 0))),
				"a reference": body([]byte{0xd2, 7}, drop, i32(0)),
			}
		})).twin("what there is", func() wasmhost.Upload {
			return raw(body([]byte{0x02, 0x40, 0x0c, 0, opEnd}, localGet(0), drop, i32(0)))
		}),
		refuses("A48", "instructions of proposals: tail calls, exceptions, threads, memory of 64 bits, garbage collection", bad, many(func() map[string][]byte {
			return map[string][]byte{
				"a tail call": body([]byte{0x12, 0}), "try": body([]byte{0x06, 0x40, opEnd}, i32(0)), "throw": body([]byte{0x08, 0}), "an atomic load": body(i32(0), []byte{0xfe, 0x10, 2, 0}),
				"a structure": body([]byte{0xfb, 0, 0}, drop, i32(0)), "a reference that is called": body([]byte{0xd0, 0x70, 0x14, 0}), "an unknown one": body([]byte{0x27}), "an unknown vector": body([]byte{0xfd, 0xff, 0x7f}),
			}
		})).twin("a call", func() wasmhost.Upload { return raw(body(i32(0))) }).seen("CVE-2024-47763", "CVE-2023-41880"),
		refuses("A49", "constants whose last byte has bits that say nothing", bad, many(func() map[string][]byte {
			return map[string][]byte{"32 bits": body([]byte{0x41, 0x80, 0x80, 0x80, 0x80, 0x70}, drop, i32(0)), "64 bits": body([]byte{0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7e}, drop, i32(0))}
		})).twin("constants in as many bytes that end with their sign", func() wasmhost.Upload {
			return raw(body([]byte{0x41, 0x80, 0x80, 0x80, 0x80, 0x78}, drop, []byte{0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f}, drop, i32(0)))
		}).seen("WebAssembly specification: integers"),
		refuses("A50", "tools whose function takes or gives something else", bad, func() map[string]wasmhost.Upload {
			uploads := map[string]wasmhost.Upload{}
			for _, typ := range [][2]string{{"i", "i"}, {"", "I"}, {"", "ii"}, {"I", ""}, {"", "r"}} {
				var result []byte
				for _, r := range typ[1] {
					result = append(result, map[rune][]byte{'i': {0x41, 0}, 'I': {0x42, 0}, 'r': {0xd0, 0x70}}[r]...)
				}
				uploads[typ[0]+" to "+typ[1]] = raw(w.Module(w.Types(w.FuncType(typ[0], typ[1])), w.Funcs(0), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body("", result...))))
			}
			return uploads
		}).seen("extism/go-sdk: exports of any type are called"),
		refuses("A51", "directories that step out of where they are shown, or lie over each other", bad, policies(
			`{"grants":{"files":[{"mount":"docs","path":"/docs/../etc"}]}}`, `{"grants":{"files":[{"mount":"docs","path":"docs"}]}}`, `{"grants":{"files":[{"mount":"docs","path":"/"}]}}`,
			`{"grants":{"files":[{"mount":"docs","path":"/d"},{"mount":"docs","path":"/d"}]}}`, `{"grants":{"files":[{"mount":"../docs","path":"/d"}]}}`, `{"grants":{"files":[{"mount":"docs","path":"/d\u0000"}]}}`,
		)).seen("CVE-2023-51661"),
		refuses("A52", "hosts and paths that are none, or mean more than they show", bad, policies(
			`{"grants":{"http":[{"host":"*.*.example.com"}]}}`, `{"grants":{"http":[{"host":"exa*mple.com"}]}}`, `{"grants":{"http":[{"host":"http://example.com"}]}}`, `{"grants":{"http":[{"host":"еxample.com"}]}}`,
			`{"grants":{"http":[{"host":"example.com","pathPrefix":"/v1/../"}]}}`, `{"grants":{"http":[{"host":"example.com","ports":[0]}]}}`, `{"grants":{"http":[{"host":"example.com","methods":["CONNECT"]}]}}`,
		)).seen("extism/go-sdk: patterns of hosts span dots"),
		refuses("A53", "patterns of actions and models that mean more than they show", bad, policies(
			`{"grants":{"actions":["tool/*/x"]}}`, `{"grants":{"actions":["/tool/x"]}}`, `{"grants":{"actions":[""]}}`, `{"grants":{"generate":["open\u202eai/*"]}}`,
		)),
		refuses("A54", "a policy of megabytes", bad, policies(`{"config":{"a":"`+strings.Repeat("x", 2<<20)+`"}}`)),
		refuses("A55", "a mount that the server has not", status.PermissionDenied, policies(`{"grants":{"files":[{"mount":"root","path":"/root"}]}}`)),
		scripted("G07", "finding out by the time of an upload whether another tenant has uploaded the same", "it is compiled anew", func(t *testing.T, s *stage) {
			t.Helper()
			// Two modules that take as long: one that is nobody's, and one that the customer's tenant has.
			costly := func(n int64) wasmhost.Upload {
				g := bare()
				g.pages = 1
				for range 15 {
					g.add("", "i", repeated(1000, localGet(0), i32Load, i32(n), add, localSet(0)), i32(0))
				}
				return g.tool("", i32(0)).upload("hostile")
			}
			theirs := costly(1)
			theirs.Name = "theirs"
			_, err := s.host.Load(t.Context(), otherTenant, theirs)
			require.NoError(t, err)
			defer func() { require.NoError(t, s.host.Remove(t.Context(), otherTenant, "theirs")) }()
			took := func(up wasmhost.Upload) time.Duration {
				start := time.Now()
				require.NoError(t, s.load(t.Context(), up))
				return time.Since(start)
			}
			best := 0.0
			for i := range int64(3) { // a machine that does much else
				fresh, known := took(costly(2+i)), took(costly(1))
				best = max(best, float64(known)/float64(fresh))
				require.NoError(t, s.host.Remove(t.Context(), hostileTenant, "hostile"))
			}
			assert.Greater(t, best, 0.3, "what another tenant has is there at once")
		}).seen(earlier),
		scripted("G08", "other bytes under a version that was approved", "`ALREADY_EXISTS`", func(t *testing.T, s *stage) {
			t.Helper()
			version := func(text string) wasmhost.Upload {
				up := outputs(text).upload("hostile")
				up.Descriptor = []byte(`{"abi":"genkit/1","name":"hostile","version":"1.0.0","tools":[{"name":"f"},{"name":"ok"}]}`)
				return up
			}
			require.NoError(t, s.load(t.Context(), version("1")))
			gets(t, s.load(t.Context(), version("2")), status.AlreadyExists)
			assert.Equal(t, "1", string(s.call(t.Context(), "hostile/f", "", nil).out))
		}).seen("a tag that moves after it was checked"),
		scripted("G09", "grants of an earlier module of the same name", "a new module has those of its own policy", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), asker("kv_get", grantsKV, 1).upload("hostile")))
			require.NoError(t, s.host.Remove(t.Context(), hostileTenant, "hostile"))
			up := asker("kv_get", "{}", 1).upload("hostile")
			up.Policy = nil
			gets(t, s.load(t.Context(), up), status.PermissionDenied)
		}),
		scripted("G10", "values that an earlier module of the same name has kept", "they went with it", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), asker("kv_set", grantsKV, 1).upload("hostile")))
			require.NoError(t, s.call(t.Context(), "hostile/f", `{"key":"k","value":"left"}`, nil).err)
			require.NoError(t, s.host.Remove(t.Context(), hostileTenant, "hostile"))
			require.NoError(t, s.load(t.Context(), asker("kv_get", grantsKV, 1).upload("hostile")))
			assert.Equal(t, `{"ok":null}`, string(s.call(t.Context(), "hostile/f", `{"key":"k"}`, nil).out))
		}),
	}
}
