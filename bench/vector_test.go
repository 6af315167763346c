package bench_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
)

const (
	vectorDims = 768
	nearestK   = 10
)

// unitVectors are random directions, the worst case for a search: all are about
// equally far from all.
func unitVectors(n int, seed uint64) [][]float64 {
	r := rand.New(rand.NewPCG(seed, seed))
	all := make([][]float64, n)
	for i := range all {
		v, square := make([]float64, vectorDims), 0.0
		for j := range v {
			v[j] = r.NormFloat64()
			square += v[j] * v[j]
		}
		for j := range v {
			v[j] /= math.Sqrt(square)
		}
		all[i] = v
	}
	return all
}

func vectorEntries(all [][]float64, from int) []local.Entry {
	entries := make([]local.Entry, len(all))
	for i, v := range all {
		n := strconv.Itoa(from + i)
		entries[i] = local.Entry{
			ID: n, Embeddings: []embed.Embedding{{Vector: v}},
			Document: content.Document{
				Content:  []content.Part{content.NewTextPart("document " + n)},
				Metadata: content.Metadata{"third": json.RawMessage(strconv.Itoa((from + i) % 3))},
			},
		}
	}
	return entries
}

func openVectors(b *testing.B) *local.Store {
	b.Helper()
	s, err := local.Open(local.Config{Dir: b.TempDir()})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	return s
}

// loopOver is brute force over float32 vectors in memory, without documents.
func loopOver(all [][]float32, q []float32) []int {
	type hit struct {
		n     int
		score float32
	}
	var best []hit
	for n, v := range all {
		var s0, s1, s2, s3 float32
		v = v[:len(q)]
		for i := 0; i+4 <= len(q); i += 4 {
			s0 += q[i] * v[i]
			s1 += q[i+1] * v[i+1]
			s2 += q[i+2] * v[i+2]
			s3 += q[i+3] * v[i+3]
		}
		score := s0 + s1 + s2 + s3
		if len(best) == nearestK && score <= best[nearestK-1].score {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, score, func(h hit, s float32) int { return cmp.Compare(s, h.score) })
		best = slices.Insert(best, at, hit{n, score})
		best = best[:min(nearestK, len(best))]
	}
	found := make([]int, len(best))
	for i, h := range best {
		found[i] = h.n
	}
	return found
}

func narrowed(v []float64) []float32 {
	n := make([]float32, len(v))
	for i, f := range v {
		n[i] = float32(f)
	}
	return n
}

// BenchmarkVectorSearch finds the ten nearest of random vectors: the local store, with
// and without a filter, beside a loop over all of them, and the share of the loop's
// answers that the store has. Run it with -cpu 1 for the figures of one core.
func BenchmarkVectorSearch(b *testing.B) {
	for _, n := range []int{few(10_000, 2_000), 100_000}[:few(2, 1)] {
		b.Run(fmt.Sprintf("vectors=%d", n), func(b *testing.B) {
			all, queries := unitVectors(n, 1), unitVectors(16, 2)
			s := openVectors(b)
			flat := make([][]float32, n)
			for from := 0; from < n; from += 1000 {
				require.NoError(b, s.Put(b.Context(), vectorEntries(all[from:from+1000], from)))
			}
			for i, v := range all {
				flat[i] = narrowed(v)
			}
			all = nil
			right := make([][]int, len(queries))
			for i, q := range queries {
				right[i] = loopOver(flat, narrowed(q))
			}
			b.Run("store=local", func(b *testing.B) {
				found := 0
				for i := 0; b.Loop(); i++ {
					results, err := s.Search(b.Context(), queries[i%len(queries)], local.Query{K: nearestK})
					require.NoError(b, err)
					for _, r := range results {
						number, err := strconv.Atoi(r.ID)
						require.NoError(b, err)
						if slices.Contains(right[i%len(queries)], number) {
							found++
						}
					}
				}
				b.ReportMetric(float64(found)/float64(nearestK*b.N), "recall")
			})
			b.Run("store=local_filtered", func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					results, err := s.Search(b.Context(), queries[i%len(queries)], local.Query{K: nearestK, Filter: json.RawMessage(`{"third":1}`)})
					require.NoError(b, err)
					require.Len(b, results, nearestK)
				}
			})
			b.Run("store=loop", func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					loopOver(flat, narrowed(queries[i%len(queries)]))
				}
			})
		})
	}
}

// BenchmarkVectorIndex stores a thousand documents in one call, synced to the disk;
// the baseline keeps float32 vectors in memory.
func BenchmarkVectorIndex(b *testing.B) {
	all := unitVectors(1000, 3)
	b.Run("store=local", func(b *testing.B) {
		s := openVectors(b)
		entries := vectorEntries(all, 0)
		for i := 0; b.Loop(); i++ {
			for j := range entries {
				entries[j].ID = strconv.Itoa(i*len(all) + j)
			}
			require.NoError(b, s.Put(b.Context(), entries))
		}
	})
	b.Run("store=loop", func(b *testing.B) {
		for b.Loop() {
			flat := make([][]float32, len(all))
			for i, v := range all {
				flat[i] = narrowed(v)
			}
		}
	})
}
