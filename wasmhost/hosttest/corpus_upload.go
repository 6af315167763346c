package hosttest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// raw is an upload of bytes that name one tool, "f".
func raw(wasm []byte) wasmhost.Upload {
	return wasmhost.Upload{Name: "hostile", Wasm: wasm, Descriptor: describes(`{"name":"f"}`)}
}

func describes(tools string) []byte {
	return fmt.Appendf(nil, `{"abi":"genkit/1","name":"hostile","tools":[%s]}`, tools)
}

func one(up wasmhost.Upload) func() map[string]wasmhost.Upload {
	return func() map[string]wasmhost.Upload { return map[string]wasmhost.Upload{"it": up} }
}

// many is one for modules that take memory to make: they are made when they are needed.
func many(make func() map[string][]byte) func() map[string]wasmhost.Upload {
	return func() map[string]wasmhost.Upload {
		uploads := map[string]wasmhost.Upload{}
		for name, wasm := range make() {
			uploads[name] = raw(wasm)
		}
		return uploads
	}
}

// plain is a module whose f does nothing, with sections before its code and after.
func plain(before []byte, after ...[]byte) []byte {
	return w.Module(append([][]byte{
		w.Types(w.FuncType("", "i")), w.Funcs(0), before, w.Exports(w.Export("f", 0, 0)), w.Code(w.Body("", 0x41, 0)),
	}, after...)...)
}

// body is a module whose f has this code.
func body(code ...[]byte) []byte {
	return w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Memories(w.Limits(1)), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body("i", cat(code...)...)))
}

// importing lets f import one function of a type.
func importing(module, name, params, results string) []byte {
	g := bare()
	g.use(module, name, params, results)
	return g.tool("", i32(0)).wasm()
}

func uploadCases() []Case {
	bad := status.InvalidArgument
	return []Case{
		refuses("A01", "an empty file", bad, one(raw(nil))).twin("a file with a module", whole),
		refuses("A02", "another magic number, another version", bad, many(func() map[string][]byte {
			return map[string][]byte{"magic": append([]byte{0x7f, 'E', 'L', 'F'}, w.Header...), "version": {0, 'a', 's', 'm', 2, 0, 0, 0}, "short": w.Header[:5]}
		})).twin("the module with its right magic number and version", whole),
		refuses("A03", "a component instead of a core module", bad, one(raw([]byte{0, 'a', 's', 'm', 0x0d, 0, 1, 0, 7, 1, 0}))).twin("a core module", whole),
		refuses("A04", "a module cut off after every one of its bytes", bad, many(prefixes)).twin("the whole module", func() wasmhost.Upload { return raw(everySection()) }),
		refuses("A05", "a length in more bytes than it may have", bad, one(raw(typesOfLength(0x85, 0x80, 0x80, 0x80, 0x80, 0x00)))).twin("the length in five bytes", func() wasmhost.Upload { return raw(typesOfLength(0x85, 0x80, 0x80, 0x80, 0x00)) }),
		refuses("A06", "a section longer than the file", bad, many(func() map[string][]byte {
			longer := plain(nil)
			longer[len(longer)-7]++ // the size of the code
			return map[string][]byte{"by much": append(bytes.Clone(w.Header), 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0), "by one": longer}
		})).twin("the module with its right length", whole),
		refuses("A07", "a section twice, sections in another order", bad, many(func() map[string][]byte {
			return map[string][]byte{
				"twice": w.Module(w.Types(w.FuncType("", "i")), w.Types(w.FuncType("", "i")), w.Funcs(0), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body("", 0x41, 0))),
				"order": w.Module(w.Funcs(0), w.Types(w.FuncType("", "i")), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body("", 0x41, 0))),
			}
		})).twin("each section once, in its place", whole),
		refuses("A08", "a list of 2^30 items in ten bytes", bad, many(func() map[string][]byte {
			all := map[string][]byte{}
			for id := byte(1); id <= 12; id++ {
				all[fmt.Sprint(id)] = w.Module(w.Section(id, w.U32(1<<30), make([]byte, 10)))
			}
			return all
		})),
		refuses("A09", "300,000 functions", bad, many(func() map[string][]byte {
			bodies := bytes.Repeat([]byte{2, 0, opEnd}, 300_000)
			return map[string][]byte{"it": w.Module(w.Types(w.FuncType("", "")), w.Section(w.SecFunction, w.U32(300_000), make([]byte, 300_000)), w.Exports(w.Export("f", 0, 0)), w.Section(w.SecCode, w.U32(300_000), bodies))}
		})),
		refuses("A10", "a function of five megabytes", bad, many(func() map[string][]byte {
			return map[string][]byte{"it": body(bytes.Repeat([]byte{0x01}, 5<<20), i32(0))}
		})),
		refuses("A11", "2^32-1 locals, and as many in many runs", bad, many(func() map[string][]byte {
			run := append(w.U32(1<<32-1), 0x7f)
			locals := func(runs ...[]byte) []byte {
				return w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Exports(w.Export("f", 0, 0)), w.Code(w.RawBody(cat(w.Vec(runs...), i32(0), []byte{opEnd}))))
			}
			return map[string][]byte{"one run": locals(run), "three runs": locals(run, run, run), "50,000": locals(append(w.U32(50_000), 0x7f))}
		})),
		refuses("A12", "a jump through a table of a million labels", bad, many(func() map[string][]byte {
			return map[string][]byte{"it": body([]byte{0x02, 0x40}, i32(0), []byte{0x0e}, w.U32(1_000_000), make([]byte, 1_000_001), []byte{opEnd}, i32(0))}
		})),
		refuses("A13", "100,000 nested blocks", bad, many(func() map[string][]byte {
			return map[string][]byte{"it": body(bytes.Repeat([]byte{0x02, 0x40}, 100_000), bytes.Repeat([]byte{opEnd}, 100_000), i32(0))}
		})),
		refuses("A14", "small modules that explode the compiler", bad, many(compileBombs)),
		refuses("A15", "names and sections of megabytes, a descriptor that is compressed", bad, many(func() map[string][]byte {
			return map[string][]byte{
				"a name":       plain(nil, w.Custom(strings.Repeat("n", 2<<20), nil)),
				"a section":    plain(nil, w.Custom("x", make([]byte, 9<<20))),
				"100 sections": plain(nil, bytes.Repeat(w.Custom("x", nil), 100)),
			}
		})),
		refuses("A16", "imports that nobody provides", bad, many(func() map[string][]byte {
			return map[string][]byte{
				"env":       importing("env", "system", "i", "i"),
				"the meter": importing("genkit:meter", "yield", "", ""),
				"WASI":      importing("wasi_snapshot_preview1", "sock_open", "i", "i"),
				"preview 2": importing("wasi:cli/environment@0.2.0", "get-environment", "i", ""),
				"threads":   importing("wasi", "thread-spawn", "i", "i"),
			}
		})),
		refuses("A17", "an import of the right name and another type", bad, many(func() map[string][]byte {
			return map[string][]byte{"native": importing("genkit_v1", "output", "I", ""), "extism": importing("extism:host/env", "alloc", "i", "i"), "WASI": importing("wasi_snapshot_preview1", "fd_write", "i", "i")}
		})).twin("an import of the right type", func() wasmhost.Upload { return raw(importing("extism:host/env", "alloc", "I", "I")) }),
		calls("A18", "exports that are named like the kernel's functions and the meter's globals", func() *guest {
			g := native()
			g.exports = [][]byte{w.Export("alloc", 2, 0), w.Export("extism:host/env", 2, 0), w.Export("genkit:meter/fuel", 2, 0), w.Export("genkit:meter_/global/0", 2, 0)}
			return g.tool("", i32(0))
		}, "", status.OK),
		refuses("A19", "an export name of ten megabytes, one that is not UTF-8, a name twice", bad, many(func() map[string][]byte {
			export := func(names ...string) []byte {
				var list [][]byte
				for _, n := range names {
					list = append(list, w.Export(n, 0, 0))
				}
				return w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Exports(list...), w.Code(w.Body("", 0x41, 0)))
			}
			return map[string][]byte{"long": export("f", strings.Repeat("x", 10<<20)), "not UTF-8": export("f", "\xff\xfe"), "twice": export("f", "f"), "only with NUL": export("f\x00\n")}
		})),
		refuses("A20", "two memories, a shared one, one of 64 bits", bad, many(func() map[string][]byte {
			return map[string][]byte{
				"two":    plain(w.Memories(w.Limits(1), w.Limits(1))),
				"shared": plain(w.Memories([]byte{3, 1, 1})),
				"64":     plain(w.Memories([]byte{4, 1})),
			}
		})).twin("one memory of its own with 32 bits", func() wasmhost.Upload { return raw(plain(w.Memories(w.Limits(1)))) }),
		refuses("A21", "a table of 10^8 entries, a hundred tables", bad, many(func() map[string][]byte {
			return map[string][]byte{"one": plain(w.Tables(w.Table("r", w.Limits(100_000_000)))), "a hundred": plain(w.Tables(slices.Repeat([][]byte{w.Table("r", w.Limits(1))}, 100)...))}
		})),
		refuses("A22", "more memory from the start than is allowed", bad, many(func() map[string][]byte {
			return map[string][]byte{"2000 pages": plain(w.Memories(w.Limits(2000))), "65536 pages": plain(w.Memories(w.Limits(65536)))}
		})),
		refuses("A23", "a data segment that lies outside memory", bad, many(func() map[string][]byte {
			return map[string][]byte{"it": plain(w.Memories(w.Limits(1)), w.Data(cat([]byte{0}, i32(65536), []byte{opEnd}, w.Name("x"))))}
		})).twin("a segment of which the last byte is that of the memory", func() wasmhost.Upload {
			return raw(plain(w.Memories(w.Limits(1)), w.Data(cat([]byte{0}, i32(65535), []byte{opEnd}, w.Name("x")))))
		}),
		calls("A24", "a reactor that also has a _start", func() *guest {
			g := bare()
			g.add("_start", "", unreachable)
			g.add("_initialize", "", i32(0))
			return g.tool("", i32(0))
		}, "", status.OK),
		calls("A33", "an element segment that lies outside its table", func() *guest {
			g := bare()
			g.tables, g.elems = [][]byte{w.Table("r", w.Limits(1, 1))}, [][]byte{cat([]byte{0}, i32(7), []byte{opEnd}, w.Vec(w.U32(0)))}
			return g.tool("", i32(0), []byte{0x11, 0, 0})
		}, "", status.Internal).twinCall("a segment within it", "", func() *guest {
			g := bare()
			g.tables, g.elems = [][]byte{w.Table("r", w.Limits(1, 1))}, [][]byte{cat([]byte{0}, i32(0), []byte{opEnd}, w.Vec(w.U32(1)))}
			return g.tool("", i32(0), []byte{0x11, 0, 0})
		}),
		refuses("A25", "a WASI command", bad, func() map[string]wasmhost.Upload {
			up := raw(w.Module(w.Types(w.FuncType("", "")), w.Funcs(0), w.Exports(w.Export("_start", 0, 0)), w.Code(w.Body(""))))
			up.Descriptor = describes(`{"name":"f","export":"_start"}`)
			return map[string]wasmhost.Upload{"it": up}
		}),
		refuses("A26", "archives and compressed files, with paths that lead out of them", bad, many(archives)).twin("the module that was packed", whole),
		refuses("A27", "code that a validator refuses, and that rewriting would make valid", bad, many(func() map[string][]byte {
			return map[string][]byte{
				"no result":           w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body(""))),
				"the meter's counter": body(i64(7), globalSet(0), i32(0)),
				"the meter's import":  body(call(1), i32(0)),
			}
		})),
		refuses("A28", "names that lead out of a folder, or look like others", bad, func() map[string]wasmhost.Upload {
			uploads := map[string]wasmhost.Upload{}
			for _, name := range []string{"../../etc/passwd", "..", "a/b", "a\\b", "a\x00b", "CON\n", "сalc", "calc\u200b", strings.Repeat("n", 300), "C:\\x"} {
				up := raw(plain(nil))
				up.Name = name
				uploads[fmt.Sprintf("%.20q", name)] = up
			}
			return uploads
		}),
		refuses("A29", "descriptors that are none", bad, func() map[string]wasmhost.Upload {
			uploads := map[string]wasmhost.Upload{}
			for name, d := range map[string]string{
				"compressed": string(pack(describes(`{"name":"f"}`))), "half": `{"abi":`, "deep": strings.Repeat("[", 100_000), "big": `{"abi":"genkit/1","tools":[{"name":"f"}],"description":"` + strings.Repeat("x", 1<<20) + `"}`,
				"twice": string(describes(`{"name":"f"},{"name":"f"}`)), "path": string(describes(`{"name":"../f","export":"f"}`)), "homoglyph": string(describes(`{"name":"ｆ","export":"f"}`)),
				"another contract": `{"abi":"genkit/9","name":"m","tools":[{"name":"f"}]}`, "1,000 tools": string(describes(strings.TrimSuffix(strings.Repeat(`{"name":"f"},`, 1000), ","))),
			} {
				up := raw(plain(nil))
				up.Descriptor = []byte(d)
				uploads[name] = up
			}
			return uploads
		}),
		refuses("A30", "policies that would be no limit", bad, func() map[string]wasmhost.Upload {
			uploads := map[string]wasmhost.Upload{}
			for _, p := range []string{`{"limits":{"timeout":1}}`, `{"limits":{"fuel":-1}}`, `{"limits":{"memoryBytes":1e30}}`, `{"state":"forever"}`, `{"grants":{"everything":true}}`, `[]`} {
				up := raw(plain(nil))
				up.Policy = []byte(p)
				uploads[p] = up
			}
			return uploads
		}),
		refuses("A31", "schemas that fetch, never end, or are huge", bad, func() map[string]wasmhost.Upload {
			uploads := map[string]wasmhost.Upload{}
			for name, schema := range map[string]string{
				"remote": `{"$ref":"http://169.254.169.254/latest"}`, "file": `{"$ref":"file:///etc/passwd"}`, "no type": `{"type":"strin"}`, "a pattern that is none": `{"pattern":"("}`,
				"a megabyte": `{"enum":["` + strings.Repeat("x", 1<<20) + `"]}`,
			} {
				up := raw(plain(nil))
				up.Descriptor = describes(`{"name":"f","inputSchema":` + schema + `}`)
				uploads[name] = up
			}
			return uploads
		}),
		refuses("A32", "capabilities that nobody has granted", status.PermissionDenied, many(func() map[string][]byte {
			return map[string][]byte{
				"http": importing("genkit_v1", "http", "ii", "i"), "kv": importing("genkit_v1", "kv_get", "ii", "i"), "generate": importing("genkit_v1", "generate", "ii", "i"),
				"Extism's http": importing("extism:host/env", "http_request", "II", "I"), "run": importing("extism:host/user", "genkit_run", "I", "I"),
			}
		})),
	}
}

// prefixes are all beginnings of a module that has every section. That the last ones are
// whole sections does not make them modules with an f that runs.
func prefixes() map[string][]byte {
	whole := everySection()
	all := map[string][]byte{}
	for i := range whole {
		all[fmt.Sprint(i)] = whole[:i]
	}
	return all
}

func everySection() []byte {
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("ii", "")), w.Imports(w.ImportFunc("genkit_v1", "output", 1)), w.Funcs(0),
		w.Tables(w.Table("r", w.Limits(1, 1))), w.Memories(w.Limits(1)), w.Globals(w.Global("i", true, 0x41, 0)), w.Exports(w.Export("f", 0, 1)),
		w.Elements(cat([]byte{0}, i32(0), []byte{opEnd}, w.Vec(w.U32(1)))), w.DataCount(1), w.Code(w.Body("iI", 0x41, 0)), w.Data(cat([]byte{0}, i32(0), []byte{opEnd}, w.Name("data"))))
}

// whole is an upload of a module that is all right.
func whole() wasmhost.Upload { return raw(plain(nil)) }

// typesOfLength is that module, with the length of its first section, which is 5, in
// these bytes.
func typesOfLength(length ...byte) []byte {
	module := plain(nil)
	at := len(w.Header) + 1
	return cat(module[:at], length, module[at+1:])
}

// compileBombs took wazero's compiler from seconds to minutes, from at most a few hundred
// KiB.
func compileBombs() map[string][]byte {
	touch := func(n uint32) (code []byte) {
		for i := range n {
			code = append(code, cat(localGet(i), i32(1), add, localSet(i))...)
		}
		return code
	}
	loop := cat([]byte{0x03, 0x40}, localGet(0), []byte{0x0d, 0, opEnd})
	locals := func(n int, code ...[]byte) []byte {
		return w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Memories(w.Limits(1)), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body(strings.Repeat("i", n), cat(append(code, i32(0))...)...)))
	}
	return map[string][]byte{
		"500 locals over 1000 loops":        locals(500, touch(500), repeated(1000, loop), touch(500)),
		"50 locals over 8000 loops":         locals(50, touch(50), repeated(8000, loop), touch(50)),
		"200 locals over 1000 nested loops": locals(200, touch(200), repeated(1000, []byte{0x03, 0x40}), touch(200), repeated(1000, localGet(0), []byte{0x0d, 0, opEnd})),
		"20,000 blocks":                     locals(1, repeated(20_000, []byte{0x02, 0x40}, localGet(0), []byte{0x0d, 0, opEnd})),
		"20,000 straight-line memory.fill":  locals(0, repeated(20_000, i32(0), i32(0), i32(5), memoryFill)),
	}
}

// archives are files that an attacker might hope are unpacked here.
func archives() map[string][]byte {
	packed := map[string][]byte{"gzip": pack(plain(nil)), "a gzip bomb": pack(make([]byte, 16<<20))}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	t := tar.NewWriter(&b)
	for i, name := range []string{"../../up", "/etc/passwd", `C:\windows`, "A", "a", "a"} {
		if _, err := z.Create(name); err != nil {
			packed[fmt.Sprint("zip ", i)] = []byte(err.Error())
		}
	}
	_ = z.Close()
	packed["zip"] = bytes.Clone(b.Bytes())
	b.Reset()
	for _, h := range []*tar.Header{{Name: "../../up"}, {Name: "/abs"}, {Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, {Name: "hard", Typeflag: tar.TypeLink, Linkname: "../x"}} {
		_ = t.WriteHeader(h)
	}
	_ = t.Close()
	packed["tar"] = bytes.Clone(b.Bytes())
	return packed
}

func pack(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b) // a buffer takes everything
	_ = z.Close()
	return out.Bytes()
}
