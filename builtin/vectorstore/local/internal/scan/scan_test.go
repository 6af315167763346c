package scan_test

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local/internal/scan"
)

func unit(v []float32) []float32 {
	n := float32(math.Sqrt(scan.Dot(v, v)))
	for i := range v {
		v[i] /= n
	}
	return v
}

func gaussian(r *rand.Rand, dims int) []float32 {
	v := make([]float32, dims)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// data are ways in which vectors lie; the first is the worst for codes, since
// everything is equally far from everything.
var data = []struct {
	name   string
	vector func(r *rand.Rand, dims int) func() []float32
}{
	{"random", func(r *rand.Rand, dims int) func() []float32 {
		return func() []float32 { return unit(gaussian(r, dims)) }
	}},
	{"50 clusters", func(r *rand.Rand, dims int) func() []float32 { return clusters(r, dims, 50, 0.3) }},
	{"2 tight clusters", func(r *rand.Rand, dims int) func() []float32 { return clusters(r, dims, 2, 0.01) }},
	{"a narrow cone", func(r *rand.Rand, dims int) func() []float32 { // as many embedders make
		centre := gaussian(r, dims)
		return func() []float32 { return unit(add(gaussian(r, dims), centre, 2)) }
	}},
	{"few dimensions count", func(r *rand.Rand, dims int) func() []float32 {
		return func() []float32 {
			v := gaussian(r, dims)
			for i := range v {
				v[i] /= float32(1 + i)
			}
			return unit(v)
		}
	}},
	{"mostly zeros", func(r *rand.Rand, dims int) func() []float32 {
		return func() []float32 {
			v := make([]float32, dims)
			for range 5 {
				v[r.IntN(dims)] = float32(r.NormFloat64())
			}
			return unit(v)
		}
	}},
	{"of all lengths", func(r *rand.Rand, dims int) func() []float32 {
		return func() []float32 { return add(make([]float32, dims), gaussian(r, dims), float32(r.Float64())) }
	}},
}

func clusters(r *rand.Rand, dims, n int, spread float32) func() []float32 {
	centres := make([][]float32, n)
	for i := range centres {
		centres[i] = unit(gaussian(r, dims))
	}
	return func() []float32 {
		return unit(add(add(make([]float32, dims), gaussian(r, dims), spread/float32(math.Sqrt(float64(dims)))), centres[r.IntN(n)], 1))
	}
}

func add(v, w []float32, by float32) []float32 {
	for i := range v {
		v[i] += by * w[i]
	}
	return v
}

func build(all [][]float32) *scan.Index {
	x := scan.New(len(all[0]), [2]uint64{3, 4})
	for _, v := range all {
		if x.Append(x.Encode(v)) {
			x.Seal()()
		}
	}
	return x
}

// TestRecall holds searches of all kinds of data, with and without a choice of rows,
// against looking at every vector.
func TestRecall(t *testing.T) {
	const n, queries, k = 5000, 20, 10
	for _, dims := range []int{96, 320} {
		for _, d := range data {
			if dims > 100 && d.name != "random" {
				continue // the same again
			}
			r := rand.New(rand.NewPCG(1, uint64(dims)))
			vector := d.vector(r, dims)
			all := make([][]float32, n)
			for i := range all {
				all[i] = vector()
			}
			x := build(all)
			for _, part := range []float64{1, 0.3, 0.01} {
				rows := choose(r, n, part)
				found, wanted, exact := 0, 0, 0
				for range queries {
					q := vector()
					hits, err := x.Search(q, scan.Query{K: k, Rows: rows, Exact: func(row int) ([]float32, error) { exact++; return all[row], nil }})
					if err != nil {
						t.Fatal(err)
					}
					right := brute(all, rows, q, k)
					wanted += len(right)
					found += common(t, hits, right, rows)
				}
				recall := float64(found) / float64(wanted)
				t.Logf("%d dimensions, %s, %.2f of the rows: recall %.3f, %d exact vectors", dims, d.name, part, recall, exact/queries)
				if recall < 0.98 {
					t.Errorf("%d dimensions, %s, %.2f of the rows: recall %.3f", dims, d.name, part, recall)
				}
			}
		}
	}
}

func choose(r *rand.Rand, n int, part float64) []uint64 {
	if part == 1 {
		return nil
	}
	rows := make([]uint64, (n+63)/64)
	for i := range n {
		if r.Float64() < part {
			rows[i/64] |= 1 << (i % 64)
		}
	}
	return rows
}

// common counts the hits that are as near as the right ones.
func common(t *testing.T, hits []scan.Hit, right []scan.Hit, rows []uint64) int {
	t.Helper()
	found := 0
	for i, h := range hits {
		if rows != nil && rows[h.Row/64]>>(h.Row%64)&1 == 0 {
			t.Errorf("row %d was not to be found", h.Row)
		}
		if i > 0 && h.Score > hits[i-1].Score {
			t.Errorf("hit %d is nearer than the one before", i)
		}
		if h.Score >= right[len(right)-1].Score {
			found++
		}
	}
	return found
}

func TestSmallThings(t *testing.T) {
	for _, dims := range []int{1, 3, 63, 64, 65, 8192} {
		x := scan.New(dims, [2]uint64{})
		hits, err := x.Search(make([]float32, dims), scan.Query{K: 3})
		if len(hits) != 0 || err != nil {
			t.Fatal(hits, err)
		}
		r := rand.New(rand.NewPCG(5, 6))
		all := [][]float32{make([]float32, dims)}
		for range 20 {
			all = append(all, gaussian(r, dims))
		}
		x = build(all)
		for _, k := range []int{0, 1, 5, 21, 100} {
			hits, err := x.Search(all[1], scan.Query{K: k, Exact: func(row int) ([]float32, error) { return all[row], nil }})
			if err != nil || len(hits) != min(k, len(all)) {
				t.Fatalf("%d dimensions: %d hits for k = %d, %v", dims, len(hits), k, err)
			}
			right := brute(all, nil, all[1], k)
			for i := range hits {
				if hits[i].Score != right[i].Score {
					t.Errorf("%d dimensions, k = %d: hit %d is %v, want %v", dims, k, i, hits[i], right[i])
				}
			}
		}
		hits, err = x.Search(make([]float32, dims), scan.Query{K: 21, Exact: func(row int) ([]float32, error) { return all[row], nil }})
		if err != nil || len(hits) != 21 || hits[5].Row != 5 {
			t.Errorf("%d dimensions: equal scores come in the order of the rows: %v %v", dims, hits, err)
		}
	}
}

func TestEqualVectors(t *testing.T) {
	all := make([][]float32, 5000)
	for i := range all {
		all[i] = []float32{1, 2, 3}
	}
	x := build(all)
	hits, err := x.Search(all[0], scan.Query{K: 1000, Exact: func(row int) ([]float32, error) { return all[row], nil }})
	if err != nil || len(hits) != 1000 {
		t.Fatal(len(hits), err)
	}
	if x.Len() != 5000 || x.Dims() != 3 || x.Bytes() == 0 {
		t.Error(x.Len(), x.Dims(), x.Bytes())
	}
	failed := errors.New("no")
	if _, err := x.Search(all[0], scan.Query{K: 1, Exact: func(int) ([]float32, error) { return nil, failed }}); !errors.Is(err, failed) {
		t.Error(err)
	}
}

func brute(all [][]float32, rows []uint64, q []float32, k int) []scan.Hit {
	var hits []scan.Hit
	for i, v := range all {
		if rows == nil || rows[i/64]>>(i%64)&1 != 0 {
			hits = append(hits, scan.Hit{Row: i, Score: scan.Dot(q, v)})
		}
	}
	slices.SortFunc(hits, func(a, b scan.Hit) int { return cmp.Compare(b.Score, a.Score) })
	return hits[:min(k, len(hits))]
}
