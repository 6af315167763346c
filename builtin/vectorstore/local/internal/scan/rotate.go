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
	d     int               // padded
	power int               // the largest power of two up to d
	flips [rounds][]float32 // 1 or -1
}

const rounds = 4

func newRotation(dims int, seed [2]uint64) *rotation {
	d := (dims + wordBits - 1) / wordBits * wordBits
	r := &rotation{d: d, power: 1 << (bits.Len(uint(d)) - 1)}
	random := rand.New(rand.NewPCG(seed[0], seed[1])) //nolint:gosec // what is random here is no secret
	for i := range r.flips {
		r.flips[i] = make([]float32, d)
		for j := range r.flips[i] {
			r.flips[i][j] = float32(1 - 2*random.IntN(2))
		}
	}
	return r
}

// apply returns the rotated v, padded with zeros.
func (r *rotation) apply(v []float32) []float32 {
	x := make([]float32, r.d)
	copy(x, v)
	for i, flips := range r.flips {
		for j, f := range flips {
			x[j] *= f
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

// hadamard transforms x, whose length is a power of two from 64 up.
func hadamard(x []float32) {
	for y := x; len(y) >= 4; y = y[4:] { // the first two steps at once
		a, b, c, d := y[0]+y[1], y[0]-y[1], y[2]+y[3], y[2]-y[3]
		y[0], y[1], y[2], y[3] = a+c, b+d, a-c, b-d
	}
	for h := 4; h < len(x); h *= 2 {
		for i := 0; i < len(x); i += 2 * h {
			a, b := x[i:i+h:i+h], x[i+h:i+2*h:i+2*h]
			b = b[:len(a)]
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
