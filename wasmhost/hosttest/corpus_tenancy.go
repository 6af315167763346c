package hosttest

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

func tenantCases() []Case {
	return []Case{
		scripted("G01", "calling, changing and removing another tenant's module by its name", "`NOT_FOUND`, and nothing is changed", func(t *testing.T, s *stage) {
			t.Helper()
			gets(t, s.call(t.Context(), "customer/echo", `{}`, nil).err, status.NotFound)
			gets(t, s.host.Remove(t.Context(), hostileTenant, "customer"), status.NotFound)
			_, err := s.host.Rollback(t.Context(), hostileTenant, "customer", 1)
			gets(t, err, status.NotFound)
			_, err = s.host.Versions(t.Context(), hostileTenant, "customer")
			gets(t, err, status.NotFound)
			for _, name := range []string{"acme/customer", "../acme/customer", "ACME", "acme\x00"} {
				_, err := s.host.Load(t.Context(), name, outputs("1").upload("customer"))
				gets(t, err, status.NotFound)
			}
		}),
		scripted("G02", "a module and a tool of the same names as another tenant's", "each tenant has its own", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			g.add("echo", "", unreachable)
			g.add("count", "", unreachable)
			require.NoError(t, s.load(t.Context(), g.upload("customer")))
			gets(t, s.call(t.Context(), "customer/echo", `{}`, nil).err, status.Internal)
			s.callCustomer(t)
		}),
		scripted("G03", "swapping a module over and over under calls, for one that does not start", "each call sees one whole version; what does not start is refused and the old one stays", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), outputs("1").upload("hostile")))
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						o := s.call(t.Context(), "hostile/f", "", nil)
						if !assert.NoError(t, o.err) || !assert.Contains(t, []string{"1", "2"}, string(o.out)) {
							return
						}
					}
				})
			}
			broken := bare()
			broken.add("_initialize", "", unreachable)
			broken.tool("", i32(0))
			for i := range rounds(10) {
				assert.NoError(t, s.load(t.Context(), outputs("12"[i%2:i%2+1]).upload("hostile")))
				gets(t, s.load(t.Context(), broken.upload("hostile")), status.Internal)
			}
			close(stop)
			wg.Wait()
		}),
		scripted("G04", "removing a module in the middle of its call", "the call ends in peace", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			g.data = "1"
			g.tool("", i32(0), i32(1), call(nativeEmit), drop, i32(0), i32(1), call(nativeOutput), i32(0))
			require.NoError(t, s.load(t.Context(), g.upload("hostile")))
			o := s.call(t.Context(), "hostile/f", "", func(json.RawMessage) error {
				return s.host.Remove(t.Context(), hostileTenant, "hostile")
			})
			gets(t, o.err, status.OK)
			gets(t, s.call(t.Context(), "hostile/f", "", nil).err, status.NotFound)
		}),
		scripted("G05", "an upload that fails at its last step, again and again", "the old module serves, and nothing stays behind", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), outputs("1").upload("hostile")))
			g := bare()
			g.pages = 60
			g.add("_initialize", "", unreachable)
			for range rounds(20) {
				gets(t, s.load(t.Context(), g.tool("", i32(0)).upload("hostile")), status.Internal, status.InvalidArgument)
				g.tools, g.bodies = g.tools[:1], g.bodies[:1]
			}
			assert.Equal(t, "1", string(s.call(t.Context(), "hostile/f", "", nil).out))
		}),
		refuses("G06", "middleware and formats without a function", status.InvalidArgument, func() map[string]wasmhost.Upload {
			up, other := raw(plain(nil)), raw(plain(nil))
			up.Descriptor = []byte(`{"abi":"genkit/1","name":"hostile","middleware":[{"name":"x","hooks":["tool"]}]}`)
			other.Descriptor = []byte(`{"abi":"genkit/1","name":"hostile","formats":[{"name":"x"}]}`)
			return map[string]wasmhost.Upload{"middleware": up, "formats": other}
		}),
	}
}

// hidden is text that looks like an innocent word and holds an instruction for models:
// characters that show nothing, that turn the direction of reading, and that are tags.
const hidden = "adds\u200b\u2060 two\u202e numbers\u2066\U000e0041\U000e0042\ufe0f\x1b[8m\u0000\u00ad\u3164"

func textCases() []Case {
	return []Case{
		scripted("H01", "descriptions with text that people can't see", "what shows nothing is taken out", func(t *testing.T, s *stage) {
			t.Helper()
			up := raw(plain(nil))
			text, err := json.Marshal(hidden)
			require.NoError(t, err)
			up.Descriptor = []byte(`{"abi":"genkit/1","name":"hostile","description":` + string(text) + `,"tools":[{"name":"f","description":` + string(text) + `}]}`)
			require.NoError(t, s.load(t.Context(), up))
			descs, err := s.host.Provider(hostileTenant).List(t.Context())
			require.NoError(t, err)
			require.NotEmpty(t, descs)
			for _, d := range descs {
				assert.Equal(t, "adds two numbers[8m", d.Description)
			}
			rec, err := s.host.Module(hostileTenant, "hostile")
			require.NoError(t, err)
			assert.Equal(t, "adds two numbers[8m", rec.Description)
		}),
		refuses("H02", "a description of a megabyte", status.InvalidArgument, func() map[string]wasmhost.Upload {
			up := raw(plain(nil))
			up.Descriptor = describes(`{"name":"f","description":"` + strings.Repeat("x", 1<<20) + `"}`)
			return map[string]wasmhost.Upload{"it": up}
		}),
		scripted("H03", "an error of its own that hides text", "what shows nothing is taken out", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			g.data = hidden
			g.tool("", i32(0), i32(int64(len(g.data))), call(nativeError), i32(1))
			require.NoError(t, s.load(t.Context(), g.upload("hostile")))
			o := s.call(t.Context(), "hostile/f", "", nil)
			require.Error(t, o.err)
			assert.Contains(t, o.err.Error(), "adds two numbers[8m")
		}),
	}
}

// residue is a guest with two tools: keep puts the caller's input wherever state can be
// kept, and f outputs all of it.
func residue(keep func(*guest) []byte, dump func(*guest) []byte) *guest {
	g := native()
	g.pages = 2
	g.globals = [][]byte{w.Global("I", true, 0x42, 0)}
	g.add("keep", "i", keep(g))
	return g.tool("i", dump(g)).with("f", `"io":"text"`).with("keep", `"io":"text"`).under("outputBytes", 1<<20).under("memoryBytes", 8<<20)
}

// forgets calls keep with the customer's secret and looks for it in what f gives back.
func forgets(id, says string, make func() *guest) Case {
	return scripted(id, says, "nothing of an earlier call is seen", func(t *testing.T, s *stage) {
		t.Helper()
		require.NoError(t, s.load(t.Context(), make().upload("hostile")))
		secret := `"` + strings.Repeat(canary, 100) + `"`
		for range 4 {
			a, err := s.resolve(t.Context(), hostileTenant, "hostile/keep")
			require.NoError(t, err)
			_, err = a.RunJSON(t.Context(), json.RawMessage(secret), nil) // its answer to its own caller is no secret
			require.NoError(t, err)
			o := s.call(t.Context(), "hostile/f", `"x"`, nil) // the answer of this call is searched
			require.NoError(t, o.err)
			assert.NotContains(t, string(o.out), canary[:8], "a part of it is enough")
		}
	})
}

func stateCases() []Case {
	return []Case{
		forgets("S01", "reading all memory after another's call", func() *guest {
			return residue(
				func(*guest) []byte { return cat(i32(4096), call(nativeInput), i32(0)) },
				func(*guest) []byte { return cat(i32(0), i32(128<<10), call(nativeOutput), i32(0)) })
		}),
		forgets("S02", "reading memory that has grown, after another's call had grown it", func() *guest {
			return residue(
				func(*guest) []byte { return cat(i32(4), memoryGrow, drop, i32(3<<16), call(nativeInput), i32(0)) },
				func(*guest) []byte {
					return cat(i32(4), memoryGrow, drop, i32(2<<16), i32(4<<16), call(nativeOutput), i32(0))
				})
		}),
		forgets("S03", "reading a big memory, of which the host restores only what was written", func() *guest {
			g := residue(
				func(*guest) []byte {
					return cat(i32(70_000), call(nativeInput), i32(200_000), call(nativeInput), i32(4_000_000), call(nativeInput), i32(0))
				},
				func(*guest) []byte { return cat(i32(65_536), i32(200_000), call(nativeOutput), i32(0)) })
			g.pages = 64
			return g
		}),
		forgets("S04", "globals that another's call has set", func() *guest {
			return residue(
				func(*guest) []byte {
					return cat(i32(512), call(nativeInput), i32(512), []byte{0x29, 3, 0}, globalSet(0), i32(0))
				},
				func(*guest) []byte {
					return cat(i32(0), globalGet(0), []byte{0x37, 3, 0}, i32(0), i32(8), call(nativeOutput), i32(0))
				})
		}),
		scripted("S05", "Extism's blocks and variables after another's call", "nothing of an earlier call is seen", func(t *testing.T, s *stage) {
			t.Helper()
			g := extism()
			load := g.use("extism:host/env", "input_load_u64", "I", "I")
			// keep: a block of 1 KiB, each word of it a word of the input; the block is also a variable.
			g.add("keep", "iIII", cat(i64(1024), call(extismAlloc), localSet(1), i64(0), localSet(2),
				times(0, 128, localGet(1), localGet(2), add64, localGet(2), call(load), call(extismStore64), localGet(2), i64(8), add64, localSet(2)),
				localGet(1), localGet(1), call(extismVarSet), i32(0)))
			// f: new blocks and whatever lies in them, and what lies before them.
			g.tool("I", i64(4096), call(extismAlloc), localSet(0), localGet(0), i64(4096), call(extismOutput), i32(0)).with("f", `"io":"text"`).with("keep", `"io":"text"`)
			require.NoError(t, s.load(t.Context(), g.upload("hostile")))
			for range 4 {
				a, err := s.resolve(t.Context(), hostileTenant, "hostile/keep")
				require.NoError(t, err)
				_, err = a.RunJSON(t.Context(), json.RawMessage(`"`+strings.Repeat(canary, 100)+`"`), nil)
				require.NoError(t, err)
				text := textOf(t, s.call(t.Context(), "hostile/f", `"x"`, nil))
				assert.Len(t, text, 4096)
				assert.True(t, zeros(text))
			}
		}),
		scripted("S06", "state that is left by a call that trapped, was cut off, or was left by its caller", "the next call starts from the first state", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			dirty := cat(i32(0), i32('9'), i32Store)
			g.add("trap", "", dirty, unreachable)
			g.add("late", "", dirty, forever())
			g.data = "1"
			g.tool("", i32(0), i32(1), call(nativeOutput), i32(0))
			require.NoError(t, s.load(t.Context(), g.upload("hostile")))
			for _, tool := range []string{"trap", "late", "trap"} {
				require.Error(t, s.call(t.Context(), "hostile/"+tool, "", nil).err)
				assert.Equal(t, "1", string(s.call(t.Context(), "hostile/f", "", nil).out), "after %s", tool)
			}
		}),
		scripted("S07", "a table entry that an earlier call has put there", "the next call starts from the first state", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			g.tables = [][]byte{w.Table("r", w.Limits(1, 1))}
			g.elems = [][]byte{cat([]byte{3, 0}, w.Vec(w.U32(uint32(len(g.imports)))))} // declared, so that ref.func may name it
			g.add("poison", "", i32(0), []byte{0xd2}, w.U32(uint32(len(g.imports))), []byte{0x26, 0}, i32(0))
			g.tool("", i32(0), i32(0), []byte{0x25, 0, 0xd1}, i32('0'), add, i32Store, i32(0), i32(1), call(nativeOutput), i32(0))
			require.NoError(t, s.load(t.Context(), g.upload("hostile")))
			for range 3 {
				require.NoError(t, s.call(t.Context(), "hostile/poison", "", nil).err)
				assert.Equal(t, "1", string(s.call(t.Context(), "hostile/f", "", nil).out), "the entry is null")
			}
		}),
		scripted("S08", "random numbers of another's call", "new ones for each call", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			const digits = 8
			g.tool("i", i32(0), i32(digits*4), call(nativeRandom), drop, times(0, digits*4, // make them ASCII
				localGet(0), i32(-1), add, localGet(0), i32(-1), add, []byte{0x2d, 0, 0}, i32(0x3f), []byte{0x71}, i32(0x40), add, []byte{0x3a, 0, 0}),
				i32(0), i32(digits*4), call(nativeOutput), i32(0)).with("f", `"io":"text"`)
			require.NoError(t, s.load(t.Context(), g.upload("hostile")))
			seen := map[string]bool{}
			for range 8 {
				seen[textOf(t, s.call(t.Context(), "hostile/f", `"x"`, nil))] = true
			}
			assert.Len(t, seen, 8)
		}),
	}
}
