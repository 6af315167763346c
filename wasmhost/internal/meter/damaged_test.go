package meter_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/verify"
)

// shape is a sequence of the meter's instructions in a body: a check, a charge, a count or a flush.
type shape struct{ at, size int }

var shapeOps = [][]byte{
	{0x23, 0x42, 0x59, 0x04, 0x05, 0x10, 0x0b}, {0x23, 0x42, 0x7d, 0x24}, {0x20, 0x42, 0x7c, 0x21}, {0x23, 0x20, 0x7d, 0x24, 0x42, 0x21}, {0x20, 0x42, 0x57, 0x04, 0x05, 0x0c, 0x0b},
}

func shapesOf(code [][]byte) (found []shape) {
	for i := range code {
		for _, ops := range shapeOps {
			if same := len(code)-i >= len(ops); same {
				for k, op := range ops {
					same = same && code[i+k][0] == op
				}
				if same {
					found = append(found, shape{i, len(ops)})
				}
			}
		}
	}
	return found
}

// damage takes away, moves, repeats or changes one of the meter's shapes in a metered module.
func damage(tb testing.TB, wasm []byte, r *rand.Rand) []byte {
	tb.Helper()
	m, err := inspect.Parse(wasm, roomy)
	require.NoError(tb, err)
	fn := r.IntN(len(m.Bodies))
	var bodies [][]byte
	for i, b := range m.Bodies {
		body := wasm[b.Start:b.End]
		if i == fn {
			var code [][]byte
			walk := m.Instructions(b)
			for in := walk.Next(); in != nil; in = walk.Next() {
				code = append(code, wasm[in.Offset:in.End])
			}
			if shapes := shapesOf(code); len(shapes) > 0 {
				code = change(code, shapes[r.IntN(len(shapes))], r)
			}
			body = append(bytes.Clone(wasm[b.Start:b.Code]), bytes.Join(code, nil)...)
		}
		bodies = append(bodies, w.Cat(w.U32(uint32(len(body))), body))
	}
	out := bytes.Clone(wasm[:8])
	for _, s := range m.Sections {
		if s.ID == inspect.SectionCode {
			out = append(out, w.Section(s.ID, w.Vec(bodies...))...)
		} else {
			out = append(out, wasm[s.Offset:s.End]...)
		}
	}
	return out
}

func change(code [][]byte, s shape, r *rand.Rand) [][]byte {
	it := slices.Clone(code[s.at : s.at+s.size])
	without := slices.Delete(slices.Clone(code), s.at, s.at+s.size)
	switch r.IntN(5) {
	case 0:
		return without
	case 1: // near by
		return slices.Insert(without, min(len(without)-1, max(0, s.at-8+r.IntN(16))), it...)
	case 2:
		return slices.Insert(slices.Clone(code), min(len(code)-1, max(0, s.at-8+r.IntN(16))), it...)
	}
	changed := slices.Clone(code)
	for i := s.at; i < s.at+s.size; i++ {
		if code[i][0] == 0x42 {
			n := int64(readS32(code[i][1:]))
			changed[i] = w.Cat([]byte{0x42}, w.S64([]int64{n - 1, n + 1, n / 2, n + 500, 1, 4096}[r.IntN(6)]))
		}
	}
	return changed
}

// readS32 reads a signed number of at most three bytes.
func readS32(src []byte) (v int32) {
	for i, b := range src {
		v |= int32(b&0x7f) << (7 * i)
		if b < 0x80 {
			if b >= 0x40 {
				v |= -1 << (7 * (i + 1))
			}
			break
		}
	}
	return v
}

// A rewriter that is wrong at random may be accepted by the verifier, but then its programs still keep what the verifier
// promises: an auditor counts what they do between two calls of the host, and in all.
func TestWhatTheVerifierAcceptsKeepsItsPromise(t *testing.T) {
	programs, damages := uint64(20), 80
	if testing.Short() || raced {
		programs, damages = 5, 40
	}
	configs := guarded()
	h := newHost(t, configs["compiler"])
	refused, accepted := 0, 0
	for seed := range programs {
		wasm := writeWander(seed)
		honest := rewrite(t, wasm)
		r := rand.New(rand.NewPCG(seed, 5))
		for range damages {
			res := *honest
			res.Wasm = damage(t, honest.Wasm, r)
			if bytes.Equal(res.Wasm, honest.Wasm) {
				continue
			}
			if _, err := inspect.Parse(res.Wasm, roomy); err != nil {
				continue
			}
			if verified(t, wasm, &res, meter.Options{}) != nil {
				refused++
				continue
			}
			if compiled, err := h.CompileModule(ctx, res.Wasm); err != nil {
				continue // its types don't fit
			} else {
				require.NoError(t, compiled.Close(ctx))
			}
			accepted++
			limit := int64(4*verify.MaxWork + verify.ReturnWork*wanderFrames*wanderFuncs)
			_, err := h.runAudited(t, audit(t, wasm, &res, limit), &res, 100, 300_000, wanderFrames)
			require.NoError(t, err, "seed %d", seed)
		}
	}
	t.Logf("%d were refused, %d accepted", refused, accepted)
	require.Greater(t, refused, accepted)
	require.Positive(t, accepted)
}
