// Package scan searches vectors by inner product: it looks at all of them, but at
// little of each.
//
// It owns the codes of the vectors in memory and the steps of a search. First each
// row's one bit per coordinate gives an estimate of its inner product with the query,
// and how far off it may be; rows that can't be among the best are left. A second bit
// does the same for the others, one byte per coordinate for what is left then, and
// last the caller's exact vectors decide between a few. How many rows pass a step
// follows from the data: where the bits say little, more is computed, and the search
// gets slower, not worse. Use:
//
//	x := scan.New(768, seed)
//	x.Append(x.Encode(vector))
//	hits, err := x.Search(query, scan.Query{K: 10, Exact: read})
//
// An *Index may be searched concurrently, but not while it is changed.
// Encode and Seal's work may run beside searches.
package scan

import (
	"cmp"
	"math"
	"slices"
	"sync"
)

// Index holds the codes of vectors, by their row: the first one appended is row 0.
type Index struct {
	dims    int
	d       int // padded
	rotate  *rotation
	blocks  []*block
	rows    int
	scratch sync.Pool // *scratch
}

type scratch struct {
	upper      []float32
	difference []float32
	planes     []planes // for each block
}

// New returns an empty index of vectors of dims coordinates, 1 to 8192. The seed chooses the
// rotation; it should not be known to who chooses the vectors.
func New(dims int, seed [2]uint64) *Index {
	x := &Index{dims: dims, rotate: newRotation(dims, seed)}
	x.d = x.rotate.d
	x.scratch.New = func() any { return &scratch{difference: make([]float32, x.d)} }
	return x
}

// Dims returns the coordinates of a vector.
func (x *Index) Dims() int { return x.dims }

// Len returns the number of rows.
func (x *Index) Len() int { return x.rows }

// Code is an encoded vector.
type Code struct {
	bytes []int8
	scale float32
}

// Encode codes a vector of Dims finite coordinates.
func (x *Index) Encode(v []float32) Code {
	r := x.rotate.apply(v)
	c := Code{bytes: make([]int8, len(r))}
	var inverse float32
	if c.scale, inverse = step(r, math.MaxInt8); c.scale == 0 {
		return c
	}
	for i, f := range r {
		c.bytes[i] = int8(whole(f*inverse, math.MaxInt8)) //nolint:gosec // within the limit
	}
	return c
}

// step returns the size of one step, when the greatest coordinate is divided into so
// many, and its inverse; 0 where a float32 can't tell it from zero.
func step(v []float32, steps float32) (scale, inverse float32) {
	var most float32
	for _, f := range v {
		most = max(most, f, -f)
	}
	scale = most / steps
	if inverse = 1 / scale; scale == 0 || math.IsInf(float64(inverse), 0) {
		return 0, 0
	}
	return scale, inverse
}

// whole rounds to the nearest whole number within the limit.
func whole(f, limit float32) int32 {
	f = max(min(f, limit), -limit)
	if f < 0 {
		return int32(f - 0.5)
	}
	return int32(f + 0.5)
}

// Append adds a row. When it reports true, the block is full: Seal should be called
// before the next Append.
func (x *Index) Append(c Code) (full bool) {
	if len(x.blocks) == 0 || x.blocks[len(x.blocks)-1].len() == blockRows {
		x.blocks = append(x.blocks, &block{})
	}
	b := x.blocks[len(x.blocks)-1]
	b.bytes = append(b.bytes, c.bytes...)
	b.scale = append(b.scale, c.scale)
	x.rows++
	return b.len() == blockRows
}

// Seal codes the last block, which must be full, and returns what puts the code in
// place. Only the latter has to keep searches out.
func (x *Index) Seal() (install func()) {
	b := x.blocks[len(x.blocks)-1]
	c := b.encode(x.d)
	bytes, scale := append(make([]int8, 0, len(b.bytes)), b.bytes...), append(make([]float32, 0, len(b.scale)), b.scale...)
	return func() { b.code, b.bytes, b.scale = c, bytes, scale } // without the room to grow
}

// Bytes returns the memory of the rows.
func (x *Index) Bytes() int64 {
	var n int64
	for _, b := range x.blocks {
		n += int64(cap(b.bytes)) + 4*int64(cap(b.scale))
		if b.code != nil {
			n += 4*int64(len(b.code.centre)) + 16*int64(len(b.code.signs)) + 24*int64(len(b.code.rows))
		}
	}
	return n
}

// Query is a search.
type Query struct {
	K int
	// Rows has a bit for each row that may be found; nil allows all.
	Rows []uint64
	// Exact returns the vector of a row, as it was given to Encode. It is called for a
	// few rows more than K, for up to MaxExact where many are almost equally near. The
	// result is used before the next call.
	Exact func(row int) ([]float32, error)
}

// MaxExact bounds the exact vectors that a search looks at.
const MaxExact = 8192

// Hit is a row and its inner product with the query.
type Hit struct {
	Row   int
	Score float64
}

const (
	// sure is how many standard deviations a row's estimate may be below the best
	// ones: more than 99 in 100 of the right rows pass.
	sure = 2.5
	// sureBytes is the same for the inner products of bytes, whose coordinates are off
	// by up to half a step.
	sureBytes = 3 / 3.4641
	// firstTaken is how many rows of the best estimates are computed before the others.
	firstTaken = 32
)

// Search returns the rows of the greatest inner product, the greatest first; equal
// ones in the order of their rows.
func (x *Index) Search(query []float32, q Query) ([]Hit, error) {
	if x.rows == 0 || q.K <= 0 {
		return nil, nil
	}
	s, _ := x.scratch.Get().(*scratch)
	defer x.scratch.Put(s)
	rotated := x.rotate.apply(query)
	norm := float32(math.Sqrt(Dot(query, query)))
	nearest := newTop(q.K) // by exact scores
	var hits []Hit
	for _, c := range x.byBytes(rotated, norm, q, s) {
		if c.score+c.slack < nearest.least() {
			break
		}
		v, err := q.Exact(c.row)
		if err != nil {
			return nil, err
		}
		score := Dot(query, v)
		nearest.push(candidate{score: float32(score)})
		hits = append(hits, Hit{c.row, score})
	}
	slices.SortFunc(hits, func(a, b Hit) int { return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Row, b.Row)) })
	return hits[:min(len(hits), q.K)], nil
}

// Dot returns the inner product of two vectors of one length.
func Dot(a, b []float32) float64 {
	var s0, s1, s2, s3 float64
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += float64(a[i]) * float64(b[i])
		s1 += float64(a[i+1]) * float64(b[i+1])
		s2 += float64(a[i+2]) * float64(b[i+2])
		s3 += float64(a[i+3]) * float64(b[i+3])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i]) * float64(b[i])
	}
	return s0 + s1 + s2 + s3
}

// byBytes returns the rows that may be among the best, by the inner products of their
// bytes, the greatest first.
func (x *Index) byBytes(rotated []float32, norm float32, q Query, s *scratch) []candidate {
	query := newByteQuery(rotated)
	best := newTop(MaxExact)
	bound := newTop(q.K) // its least is what a row must be able to reach
	off := sureBytes * norm
	take := func(row int, b *block, i int) {
		score := query.inner(b.row(i, x.d)) * b.scale[i]
		best.push(candidate{row, score, off * b.scale[i]})
		bound.push(candidate{row: row, score: score - off*b.scale[i]})
	}
	promising := x.estimates(rotated, q, s)
	for n, b := range x.blocks { // rows without estimates
		if b.code == nil {
			eachRow(q.Rows, n*blockRows, b.len(), func(i int) { take(n*blockRows+i, b, i) })
		}
	}
	for _, c := range promising {
		take(c.row, x.blocks[c.row/blockRows], c.row%blockRows)
		s.upper[c.row] = float32(math.Inf(-1)) // not again
	}
	for n, b := range x.blocks {
		if b.code == nil {
			continue
		}
		first, words := n*blockRows, x.d/wordBits
		limit := bound.least()
		for i, upper := range s.upper[first : first+b.len()] {
			if upper < limit {
				continue
			}
			c, p := b.code, &s.planes[n]
			value := upper - sure*c.rows[i].spread*p.distance
			value, spread := p.refine(value, &c.rows[i], &c.fine[i], c.signs[i*words:(i+1)*words], c.larges[i*words:(i+1)*words])
			if value+sure*spread >= limit {
				take(first+i, b, i)
				limit = bound.least()
			}
		}
	}
	return best.within(bound.least())
}

// estimates puts into s.upper what each row's inner product may reach, and returns the
// rows whose estimates are the greatest.
func (x *Index) estimates(rotated []float32, q Query, s *scratch) []candidate {
	if len(s.upper) < x.rows {
		s.upper = make([]float32, len(x.blocks)*blockRows)
	}
	for len(s.planes) < len(x.blocks) {
		s.planes = append(s.planes, planes{words: make([]uint64, x.d/wordBits*planeBits)})
	}
	best := newTop(max(2*q.K, firstTaken))
	words := x.d / wordBits
	for n, b := range x.blocks {
		if b.code == nil {
			continue
		}
		first := n * blockRows
		upper := s.upper[first : first+b.len()]
		if q.Rows != nil {
			for i := range upper {
				upper[i] = float32(math.Inf(-1))
			}
		}
		p := &s.planes[n]
		p.prepare(rotated, b.code.centre, s.difference)
		limit := best.least()
		eachRow(q.Rows, first, b.len(), func(i int) {
			value, spread := p.estimate(&b.code.rows[i], b.code.signs[i*words:(i+1)*words])
			upper[i] = value + sure*spread
			if value > limit {
				best.push(candidate{row: first + i, score: value})
				limit = best.least()
			}
		})
	}
	return best.items
}

// eachRow calls fn for the rows of a block that may be found.
func eachRow(rows []uint64, first, n int, fn func(i int)) {
	if rows == nil {
		for i := range n {
			fn(i)
		}
		return
	}
	for i := 0; i < n; i++ {
		row := first + i
		w := rows[row/wordBits] >> (row % wordBits)
		if w == 0 { // blocks start at whole words
			i |= wordBits - 1
			continue
		}
		if w&1 != 0 {
			fn(i)
		}
	}
}

// byteQuery is a query in whole numbers that fit the products of a row's bytes.
type byteQuery struct {
	values []int32
	scale  float32
}

// queryLimit keeps 8192 products of a byte and a query's value within an int32.
const queryLimit = 2047

func newByteQuery(v []float32) *byteQuery {
	q := &byteQuery{values: make([]int32, len(v))}
	var inverse float32
	if q.scale, inverse = step(v, queryLimit); q.scale == 0 {
		return q
	}
	for i, f := range v {
		q.values[i] = whole(f*inverse, queryLimit)
	}
	return q
}

func (q *byteQuery) inner(row []int8) float32 {
	var s0, s1, s2, s3 int32
	v := q.values
	for len(row) >= 8 && len(v) >= 8 { // rows are padded to 64
		s0 += int32(row[0])*v[0] + int32(row[4])*v[4]
		s1 += int32(row[1])*v[1] + int32(row[5])*v[5]
		s2 += int32(row[2])*v[2] + int32(row[6])*v[6]
		s3 += int32(row[3])*v[3] + int32(row[7])*v[7]
		row, v = row[8:], v[8:]
	}
	return float32(s0+s1+s2+s3) * q.scale
}
