package wasmhost_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// marked is a script with a mark of its own in its memory, which its calls look at, change, and bury.
func marked(i int) string {
	return fmt.Sprintf(`
const mark = Array.from({ length: 50 }, (_, k) => "script %[1]d's " + k);
let changed = 0;
tool({ name: "look", run: () => [mark[49], ++changed, typeof globalThis.left, Object.keys({}).concat(Object.keys(Object.prototype))] });
tool({ name: "fill", run: ({ bytes }) => {
  globalThis.left = "by script %[1]d";
  Object.prototype["left by %[1]d"] = 1;
  mark.fill("script %[1]d was here");
  const blocks = [];
  try { for (let n = 0; n < bytes; n += 1 << 16) blocks.push(new Uint8Array(1 << 16).fill(%[1]d)); } catch (e) { return String(e); }
  return blocks.length;
} });`, i)
}

// Scripts share the engine's memory up to where each is evaluated, and nothing that one of them writes.
func TestScriptsThatShareAnEngineSeeNothingOfEachOther(t *testing.T) {
	both := map[string]func(*wasmhost.Config){
		"in process": func(c *wasmhost.Config) { c.Isolation = wasmhost.InProcess },
		"in a worker": func(c *wasmhost.Config) {
			c.Isolation, c.Compiler = wasmhost.Process, program
		},
	}
	answers := map[string][]string{}
	for where, more := range both {
		t.Run(where, func(t *testing.T) {
			h := scriptHost(t, more)
			said := func(out string, err error) { answers[where] = append(answers[where], fmt.Sprint(out, err)) }
			const scripts = 4
			for i := range scripts {
				_, err := h.Load(t.Context(), tenant, scripted(fmt.Sprintf("s%d", i), marked(i)))
				require.NoError(t, err)
			}
			look := func(i int) {
				t.Helper()
				out, err := call(t, h, fmt.Sprintf("s%d/look", i), `{}`)
				require.NoError(t, err)
				assert.JSONEq(t, fmt.Sprintf(`["script %d's 49",1,"undefined",[]]`, i), out)
				said(out, err)
			}
			// Half a megabyte stays within what the image has room for, 8 MiB grows the memory and costs the instance,
			// and 1 GiB meets the memory's limit.
			for _, bytes := range []int{1 << 19, 8 << 20, 1 << 30} {
				for i := range scripts {
					out, err := call(t, h, fmt.Sprintf("s%d/fill", i), fmt.Sprintf(`{"bytes":%d}`, bytes))
					require.NoError(t, err)
					if bytes == 1<<30 {
						assert.JSONEq(t, `"InternalError: out of memory"`, out)
					}
					said(out, err)
					for k := range scripts {
						look(k)
					}
				}
			}
			_, err := h.Load(t.Context(), tenant, scripted("late", marked(scripts)))
			require.NoError(t, err, "a script that begins on the engine's memory after all that")
			out, err := call(t, h, "late/look", `{}`)
			require.NoError(t, err)
			assert.JSONEq(t, fmt.Sprintf(`["script %d's 49",1,"undefined",[]]`, scripts), out)
			h.Evict(0)
			look(0) // evaluated again
			said(out, err)
		})
	}
	assert.Equal(t, answers["in process"], answers["in a worker"])
}

// A script that waits for calls counts as what it has for itself, and as all of its memory while it runs.
func TestAScriptThatWaitsHoldsLittle(t *testing.T) {
	h := scriptHost(t, func(c *wasmhost.Config) {
		c.Isolation, c.Quota = wasmhost.InProcess, tenants.Quota{MemoryBytes: 16 << 20}
	})
	for i := range 10 { // ten whole memories would not fit
		_, err := h.Load(t.Context(), tenant, scripted(fmt.Sprintf("s%d", i), marked(i)))
		require.NoError(t, err)
	}
	usage, err := h.Usage(tenant)
	require.NoError(t, err)
	assert.Less(t, usage.MemoryBytes, int64(10*(600<<10)))
	out, err := call(t, h, "s3/fill", `{"bytes":12582912}`)
	if err == nil {
		assert.Contains(t, []string{"192", `"InternalError: out of memory"`}, out)
	} else {
		require.ErrorIs(t, err, status.ErrResourceExhausted)
	}
	for i := range 10 {
		out, err := call(t, h, fmt.Sprintf("s%d/look", i), `{}`)
		require.NoError(t, err)
		assert.Contains(t, out, fmt.Sprintf("script %d's 49", i))
	}
}
