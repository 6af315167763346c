package verify_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/verify"
)

// target is a module whose metered form is damaged at random, with all its functions exported.
type target struct {
	original *inspect.Module
	res      *meter.Result
	m        *inspect.Module // the metered form
	code     []code          // of each of its functions
	want     []string        // the results of the original
}

func newTarget(tb testing.TB) *target {
	tb.Helper()
	wasm := victim()
	m, err := inspect.Parse(wasm, roomy)
	require.NoError(tb, err)
	exports := [][]byte{w.Export("memory", 2, 0), w.Export("g", 3, 0), w.Export("g1", 3, 1)}
	for i := range m.Functions {
		exports = append(exports, w.Export(fmt.Sprintf("f%d", i), 0, uint32(i+1)))
	}
	wasm = withSection(m, wasm, inspect.SectionExport, w.Vec(exports...))
	t := &target{}
	t.original, err = inspect.Parse(wasm, roomy)
	require.NoError(tb, err)
	t.res, err = meter.Rewrite(wasm, t.original, meter.Options{})
	require.NoError(tb, err)
	t.m, err = inspect.Parse(t.res.Wasm, roomy)
	require.NoError(tb, err)
	for _, b := range t.m.Bodies {
		var c code
		walk := t.m.Instructions(b)
		for in := walk.Next(); in != nil; in = walk.Next() {
			c = append(c, t.res.Wasm[in.Offset:in.End])
		}
		t.code = append(t.code, c)
	}
	t.want = t.run(tb, wasm)
	return t
}

// A guest gets so many slices of fuel for a call, and so much time, which means "never ends".
const (
	guardTime = 20 * time.Second

	slice = 2_000
	turns = 40
)

// run calls every function and returns the results. It fails when the guest does not return to the host for far longer
// than it may.
func (t *target) run(tb testing.TB, wasm []byte) []string {
	tb.Helper()
	// The interpreter ends on its context, so a guest that never returns to the host fails the test instead of hanging
	// it.
	ctx, cancel := context.WithTimeout(context.Background(), guardTime)
	defer cancel()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCloseOnContextDone(true).WithMemoryLimitPages(16))
	defer r.Close(context.Background())
	left := 0
	_, err := r.NewHostModuleBuilder("genkit:meter").NewFunctionBuilder().WithFunc(func(_ context.Context, m api.Module) {
		if left--; left < 0 {
			panic("out of fuel")
		}
		fuel := m.ExportedGlobal(t.res.FuelExport).(api.MutableGlobal)
		fuel.Set(fuel.Get() + slice)
	}).Export("yield").Instantiate(ctx)
	require.NoError(tb, err)
	_, err = r.NewHostModuleBuilder("env").NewFunctionBuilder().WithFunc(func(n uint32) uint32 { return n + 1 }).Export("tick").Instantiate(ctx)
	require.NoError(tb, err)
	var out []string
	for i := range t.original.Functions {
		for _, arg := range []uint64{2, 7, 300} {
			left = turns
			instance, err := r.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName("").WithStartFunctions())
			if err != nil {
				return []string{"it is not valid"}
			}
			f := instance.ExportedFunction(fmt.Sprintf("f%d", i))
			args := []uint64{arg}[:len(f.Definition().ParamTypes())]
			results, err := f.Call(ctx, args...)
			said := "" // a trap loses what was counted; its kind stays
			if err != nil {
				said, _, _ = strings.Cut(err.Error(), "\n")
			}
			require.NoError(tb, ctx.Err(), "a guest that was accepted ran without an end: function %d, argument %d, %d turns left", i, arg, left)
			memory, _ := instance.ExportedMemory("memory").Read(0, 256)
			out = append(out, fmt.Sprint(i, " ", arg, results, said, crc32.ChecksumIEEE(memory), " ", instance.ExportedGlobal("g").Get(), instance.ExportedGlobal("g1").Get(), instance.ExportedMemory("memory").Size()))
			require.NoError(tb, instance.Close(ctx))
		}
	}
	return out
}

// damage changes the code of a function as the script says, eight bytes for each change.
func (t *target) damage(script []byte) []byte {
	changed := slices.Clone(t.code)
	for len(script) >= 8 {
		fn := int(script[0]) % len(changed)
		c := slices.Clone(changed[fn])
		i := int(binary.LittleEndian.Uint16(script[1:])) % len(c)
		j := int(binary.LittleEndian.Uint16(script[4:])) % len(c)
		switch script[3] % 8 {
		case 0:
			c = slices.Delete(c, i, i+1)
		case 1:
			c = slices.Insert(c, j, c[i])
		case 2:
			c[i], c[j] = c[j], c[i]
		case 3:
			c[i] = c[j]
		case 4: // some bit of it
			in := bytes.Clone(c[i])
			in[int(script[6])%len(in)] ^= 1 << (script[7] % 8)
			c[i] = in
		case 5: // a constant
			if c[i][0] == 0x42 || c[i][0] == 0x41 {
				c[i] = w.Cat(c[i][:1], w.S64(int64(int8(script[6]))))
			}
		case 6: // a label or an index
			if len(c[i]) > 1 {
				c[i] = w.Cat(c[i][:1], w.U32(uint32(script[6])%12), c[i][min(len(c[i]), 2):])
			}
		case 7: // a stretch of it
			end := min(len(c), i+1+int(script[6])%16)
			c = slices.Insert(c, j, slices.Clone(c[i:end])...)
		}
		if len(c) > 0 {
			changed[fn] = c
		}
		script = script[8:]
	}
	bodies := make([][]byte, len(changed))
	for i, c := range changed {
		b := t.m.Bodies[i]
		body := append(bytes.Clone(t.res.Wasm[b.Start:b.Code]), bytes.Join(c, nil)...)
		bodies[i] = w.Cat(w.U32(uint32(len(body))), body)
	}
	return withSection(t.m, t.res.Wasm, inspect.SectionCode, w.Vec(bodies...))
}

// try damages the module. When it is accepted all the same, it must behave like the original and return to the
// host.
func (t *target) try(tb testing.TB, script []byte) (accepted bool) {
	tb.Helper()
	wasm := t.damage(script)
	if bytes.Equal(wasm, t.res.Wasm) {
		return false
	}
	m, err := inspect.Parse(wasm, roomy)
	if err != nil {
		return false
	}
	if _, err := verify.Check(t.original, m, claim(t.res, meter.Options{})); err != nil {
		return false
	}
	got := t.run(tb, wasm)
	if got[0] == "it is not valid" { // wazero looks at types
		return true
	}
	for i := range got { // one that charges too much returns to the host all the sooner
		if !strings.Contains(got[i], "out of fuel") {
			require.Equal(tb, t.want[i], got[i], "% x", script)
		}
	}
	return true
}

// Damage at random is refused, or harmless.
func TestRandomDamage(t *testing.T) {
	target := newTarget(t)
	n := 20_000
	if testing.Short() {
		n = 3_000
	}
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // it must repeat
	accepted, script := 0, make([]byte, 16)
	for range n {
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		if target.try(t, script[:8*(1+r.IntN(2))]) {
			accepted++
		}
	}
	t.Logf("%d of %d were accepted", accepted, n)
	require.Positive(t, accepted, "some damages are harmless")
}

func FuzzCheck(f *testing.F) {
	target := newTarget(f)
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{2, 5, 0, 4, 0, 0, 1, 3})
	f.Add([]byte{4, 5, 0, 7, 0, 0, 9, 3, 3, 7, 0, 5, 0, 0, 0x7f, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		target.try(t, script[:min(len(script), 32)])
	})
}
