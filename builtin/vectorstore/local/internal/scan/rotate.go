package scan

import (
	"math"
	"math/bits"
	"math/rand/v2"
)

// wordBits is how many bits of a code one word holds; vectors are padded to it.
const wordBits = 64

// rotation is a random orthogonal map in O(d log d): rounds of flipped signs, a
// Hadamard transform of the first or the last power of two of the coordinates, and a
// step that mixes the two halves (as the rotator of the RaBitQ library). It spreads
// whatever a vector holds over all coordinates, so that their signs say most of it.
type rotation struct {
	d     int // padded
	power int // the largest power of two up to d
	flips [rounds][]uint64
}

const rounds = 4

func newRotation(dims int, seed [2]uint64) *rotation {
	d := (dims + wordBits - 1) / wordBits * wordBits
	r := &rotation{d: d, power: 1 << (bits.Len(uint(d)) - 1)}
	random := rand.New(rand.NewPCG(seed[0], seed[1])) //nolint:gosec // what is random here is no secret
	for i := range r.flips {
		r.flips[i] = make([]uint64, d/wordBits)
		for j := range r.flips[i] {
			r.flips[i][j] = random.Uint64()
		}
	}
	return r
}

// apply returns the rotated v, padded with zeros.
func (r *rotation) apply(v []float32) []float32 {
	x := make([]float32, r.d)
	copy(x, v)
	for i, flips := range r.flips {
		for j := range x {
			if flips[j/wordBits]>>(j%wordBits)&1 != 0 {
				x[j] = -x[j]
			}
		}
		if i%2 == 0 {
			hadamard(x[:r.power])
		} else {
			hadamard(x[r.d-r.power:])
		}
		if r.power < r.d {
			mixHalves(x)
		}
	}
	return x
}

func hadamard(x []float32) {
	for h := 1; h < len(x); h *= 2 {
		for i := 0; i < len(x); i += 2 * h {
			a, b := x[i:i+h], x[i+h:i+2*h]
			for j, u := range a {
				v := b[j]
				a[j], b[j] = u+v, u-v
			}
		}
	}
	scale := float32(1 / math.Sqrt(float64(len(x))))
	for i := range x {
		x[i] *= scale
	}
}

func mixHalves(x []float32) {
	const scale = float32(1 / math.Sqrt2)
	a, b := x[:len(x)/2], x[len(x)/2:]
	for i, u := range a {
		v := b[i]
		a[i], b[i] = (u+v)*scale, (u-v)*scale
	}
}
