package scan

import (
	"math"
	"math/bits"
)

// blockRows is how many rows share a centre and are coded together.
const blockRows = 2048

// block holds rows in the order in which they came. Until it is full it has no code
// and is looked through byte by byte.
type block struct {
	bytes []int8 // n·d
	scale []float32
	code  *code
}

// code is one bit for each coordinate of each row: the sign of its distance from the
// block's centre. With the numbers beside them the bits give an unbiased estimate of
// an inner product, and its spread (RaBitQ, Gao and Long, SIGMOD 2024). A second bit
// says whether the distance is large; it is looked at where the first leaves a doubt.
type code struct {
	centre []float32
	signs  []uint64 // n·d/64
	larges []uint64
	rows   []row
	fine   []fine
}

type row struct {
	ones   float32 // set bits of signs
	factor float32 // from the sum of signs to the inner product
	spread float32 // standard deviation of the estimate, for a query at distance 1
	fixed  float32 // inner product of the centre with what is coded
}

// fine is factor and spread with the second bit.
type fine struct{ factor, spread float32 }

// The best two levels for coordinates that are spread evenly (Max, 1960), and the
// limit between them, in standard deviations.
const (
	small, large = 0.4528, 1.5104
	threshold    = 0.9816
)

func (b *block) len() int { return len(b.scale) }

func (b *block) row(i, d int) []int8 { return b.bytes[i*d : (i+1)*d : (i+1)*d] }

// encode makes the code of a full block.
func (b *block) encode(d int) *code {
	n := b.len()
	words := d / wordBits
	c := &code{
		centre: make([]float32, d), signs: make([]uint64, n*words), larges: make([]uint64, n*words),
		rows: make([]row, n), fine: make([]fine, n),
	}
	for i := range n {
		scale := b.scale[i] / float32(n)
		for j, v := range b.row(i, d) {
			c.centre[j] += float32(v) * scale
		}
	}
	rest := make([]float32, d)
	for i := range n {
		for j, v := range b.row(i, d) {
			rest[j] = float32(v)*b.scale[i] - c.centre[j]
		}
		c.encodeRow(i, rest, c.signs[i*words:(i+1)*words], c.larges[i*words:(i+1)*words])
	}
	return c
}

func (c *code) encodeRow(i int, rest []float32, signs, larges []uint64) {
	var sum, square, fixed float64
	centre := c.centre[:len(rest)]
	for at := range signs {
		var bits uint64
		for j, r := range rest[at*wordBits : (at+1)*wordBits] {
			if r >= 0 {
				bits |= 1 << j
			}
		}
		signs[at] = bits
	}
	for j, r := range rest {
		sum += math.Abs(float64(r))
		square += float64(r) * float64(r)
		fixed += float64(r) * float64(centre[j])
	}
	if sum == 0 {
		return // the row is the centre; all that is left out is zero
	}
	d := float64(len(rest))
	limit := float32(threshold * math.Sqrt(square/d))
	var largeSum float64 // of the distances of the large ones
	count := 0
	for at := range larges {
		var bits uint64
		for j, r := range rest[at*wordBits : (at+1)*wordBits] {
			if r >= limit || r <= -limit {
				bits |= 1 << j
				largeSum += math.Abs(float64(r))
				count++
			}
		}
		larges[at] = bits
	}
	// <x, rest> and <x, x> for the coded x.
	fineSum := small*sum + (large-small)*largeSum
	fineSquare := small*small*(d-float64(count)) + large*large*float64(count)
	ones := 0
	for _, w := range signs {
		ones += bits.OnesCount64(w)
	}
	c.rows[i] = row{
		ones: float32(ones), factor: float32(square / sum), fixed: float32(fixed),
		spread: spread(square, sum*sum/(square*d), d),
	}
	c.fine[i] = fine{factor: float32(square / fineSum), spread: spread(square, fineSum*fineSum/(square*fineSquare), d)}
}

// spread is the standard deviation of an estimate; fit is the square of the cosine
// between what is coded and its code.
func spread(square, fit, d float64) float32 {
	return float32(math.Sqrt(square * max(1/fit-1, 0) / (d - 1)))
}

// planes is a query as four bits for each coordinate, bit by bit, relative to a
// block's centre.
type planes struct {
	words    []uint64 // four for each word of a row
	low      float32  // coordinate = low + step·bits
	step     float32
	sum      float32 // of the coordinates so coded
	distance float32 // of the query from the centre, and what its coding adds
	finer    float32 // the same for the finer code
	offset   float32 // inner product of query and centre
}

const (
	planeBits = 4
	levels    = 1<<planeBits - 1
)

// prepare puts query into p, relative to the centre.
func (p *planes) prepare(query, centre, difference []float32) {
	low, high, square, offset := float32(math.Inf(1)), float32(math.Inf(-1)), float32(0), float32(0)
	centre = centre[:len(query)]
	difference = difference[:len(query)]
	for j, v := range query {
		x := v - centre[j]
		difference[j] = x
		low, high = min(low, x), max(high, x)
		square += x * x
		offset += v * centre[j]
	}
	p.low, p.offset, p.step = low, offset, (high-low)/levels
	if p.step <= 0 {
		p.step = 1
	}
	clear(p.words)
	inverse, total := 1/p.step, uint64(0)
	for j, x := range difference {
		u := min(uint64((x-low)*inverse+0.5), levels)
		total += u
		at, bit := j/wordBits*planeBits, j%wordBits
		w := p.words[at : at+planeBits : at+planeBits]
		w[0] |= u & 1 << bit
		w[1] |= u >> 1 & 1 << bit
		w[2] |= u >> 2 & 1 << bit
		w[3] |= u >> 3 & 1 << bit
	}
	p.sum = low*float32(len(query)) + p.step*float32(total)
	// The coding's own error is uniform in a step. Its effect on an estimate, in units
	// of the row's spread, follows from how well codes fit values that are spread
	// evenly: 0.80 and 0.94.
	coding := float64(p.step) * float64(p.step) * float64(len(query)) / 12
	p.distance = float32(math.Sqrt(float64(square) + coding*1.67*1.67))
	p.finer = float32(math.Sqrt(float64(square) + coding*2.94*2.94))
}

// inner returns Σ coordinate·bit of a row, in steps above low.
func (p *planes) inner(words []uint64) uint64 {
	var s0, s1, s2, s3 int
	q := p.words
	for _, w := range words {
		if len(q) < planeBits {
			break
		}
		s0 += bits.OnesCount64(w & q[0])
		s1 += bits.OnesCount64(w & q[1])
		s2 += bits.OnesCount64(w & q[2])
		s3 += bits.OnesCount64(w & q[3])
		q = q[planeBits:]
	}
	return uint64(s0 + 2*s1 + 4*s2 + 8*s3) //nolint:gosec // a sum of counts
}

// estimate returns the inner product of query and row, and its standard deviation.
func (p *planes) estimate(r *row, signs []uint64) (value, spread float32) {
	return r.factor*p.signed(r, signs) + r.fixed + p.offset, r.spread * p.distance
}

// signed returns Σ ±coordinate.
func (p *planes) signed(r *row, signs []uint64) float32 {
	return 2*(p.low*r.ones+p.step*float32(p.inner(signs))) - p.sum
}

// refine is estimate with the second bits; value is what estimate returned.
func (p *planes) refine(value float32, r *row, f *fine, signs, larges []uint64) (finer, spread float32) {
	if r.factor == 0 {
		return value, 0
	}
	q := p.words
	var s0, s1, s2, s3, ones int
	for i, w := range signs {
		if i >= len(larges) || len(q) < planeBits {
			break
		}
		plus, minus := larges[i]&w, larges[i]&^w
		ones += bits.OnesCount64(plus) - bits.OnesCount64(minus)
		s0 += bits.OnesCount64(plus&q[0]) - bits.OnesCount64(minus&q[0])
		s1 += bits.OnesCount64(plus&q[1]) - bits.OnesCount64(minus&q[1])
		s2 += bits.OnesCount64(plus&q[2]) - bits.OnesCount64(minus&q[2])
		s3 += bits.OnesCount64(plus&q[3]) - bits.OnesCount64(minus&q[3])
		q = q[planeBits:]
	}
	more := p.low*float32(ones) + p.step*float32(s0+2*s1+4*s2+8*s3)
	signed := (value - r.fixed - p.offset) / r.factor
	return f.factor*(small*signed+(large-small)*more) + r.fixed + p.offset, f.spread * p.finer
}
