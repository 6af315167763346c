//go:build peers

// Command vectors measures indexing and searching vectors: this project's local store,
// a loop over float32 vectors, Genkit's Go localvec, chromem-go and coder/hnsw.
//
// It owns the data, the peers and the table. All peers are given the same vectors and
// queries, one after the other in one process on one processor; answers are held
// against those of the loop. Use:
//
//	go run -tags peers ./vectors -n 100000 -peers ours,loop,localvec,chromem
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

var (
	count   = flag.Int("n", 10_000, "vectors")
	dims    = flag.Int("dims", 768, "dimensions")
	queries = flag.Int("queries", 40, "searches of each peer")
	kinds   = flag.String("data", "random,clusters", "kinds of data")
	which   = flag.String("peers", strings.Join(order, ","), "peers, in the order of the table")
)

const k = 10

// order is the table's order of rows.
var order = []string{"ours", "ours-filtered", "loop", "localvec", "chromem", "hnsw"}

// peer is something that can be searched.
type peer struct {
	// search returns the numbers of the nearest vectors.
	search func(ctx context.Context, q []float32) ([]int, error)
	// slow peers are asked fewer times.
	slow  bool
	bytes int64 // on the disk
	close func() error
}

func main() {
	flag.Parse()
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the SDK logs to it
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) error {
	runtime.GOMAXPROCS(1)
	for kind := range strings.SplitSeq(*kinds, ",") {
		next, known := data[kind]
		if !known {
			return fmt.Errorf("no data %q", kind)
		}
		r := rand.New(rand.NewPCG(1, 2))
		vector := next(r)
		all, asked := make([][]float32, *count), make([][]float32, *queries)
		for i := range all {
			all[i] = vector()
		}
		for i := range asked {
			asked[i] = vector()
		}
		fmt.Fprintf(w, "\n%s, %d vectors of %d dimensions, k = %d, GOMAXPROCS 1\n\n", kind, *count, *dims, k)
		fmt.Fprintln(w, "| peer | index s | search ms, median [min-max] | CPU ms/search | recall | on disk MB | heap MB |")
		fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
		if err := measureAll(ctx, w, all, asked); err != nil {
			return err
		}
	}
	return nil
}

func measureAll(ctx context.Context, w io.Writer, all, asked [][]float32) error {
	right := make([][]int, len(asked))
	third := make([][]int, len(asked))
	for i, q := range asked {
		right[i] = nearest(all, q, func(int) bool { return true })
		third[i] = nearest(all, q, isThird)
	}
	for name := range strings.SplitSeq(*which, ",") {
		setUp, known := peers[name]
		if !known {
			return fmt.Errorf("no peer %q", name)
		}
		want := right
		if name == "ours-filtered" {
			want = third
		}
		if err := measure(ctx, w, name, setUp, all, asked, want); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func measure(ctx context.Context, w io.Writer, name string, setUp func(context.Context, [][]float32) (*peer, error), all, asked [][]float32, right [][]int) error {
	before := heap()
	start := time.Now()
	p, err := setUp(ctx, all)
	if err != nil {
		return err
	}
	indexing := time.Since(start)
	used := heap() - before
	if p.slow {
		asked = asked[:min(len(asked), 5)]
	}
	var times []float64
	found, cpu := 0, cpuTime()
	for i, q := range asked {
		start := time.Now()
		got, err := p.search(ctx, q)
		if err != nil {
			return err
		}
		times = append(times, time.Since(start).Seconds()*1000)
		for _, n := range got {
			if slices.Contains(right[i], n) {
				found++
			}
		}
	}
	spent := (cpuTime() - cpu).Seconds() * 1000 / float64(len(asked))
	slices.Sort(times)
	fmt.Fprintf(w, "| %s | %.1f | %.2f [%.2f-%.2f] | %.2f | %.3f | %.0f | %.0f |\n", name, indexing.Seconds(),
		times[len(times)/2], times[0], times[len(times)-1], spent, float64(found)/float64(k*len(asked)), float64(p.bytes)/1e6, float64(used)/1e6)
	if p.close != nil {
		return p.close()
	}
	return nil
}

func heap() int64 {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// cpuTime is the processor time of this process, in and out of the kernel.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // the arguments are constants
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func isThird(i int) bool { return i%3 == 0 }

func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	for i := 0; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	return s0 + s1 + s2 + s3
}

func nearest(all [][]float32, q []float32, allowed func(int) bool) []int {
	type hit struct {
		n     int
		score float32
	}
	var best []hit
	for n, v := range all {
		if !allowed(n) {
			continue
		}
		score := dot(q, v)
		if len(best) == k && score <= best[k-1].score {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, score, func(h hit, s float32) int { return cmp.Compare(s, h.score) })
		best = slices.Insert(best, at, hit{n, score})
		best = best[:min(k, len(best))]
	}
	found := make([]int, len(best))
	for i, b := range best {
		found[i] = b.n
	}
	return found
}

// data makes unit vectors: as far from each other as they can be, and in groups.
var data = map[string]func(r *rand.Rand) func() []float32{
	"random": func(r *rand.Rand) func() []float32 {
		return func() []float32 { return unit(gaussian(r)) }
	},
	"clusters": func(r *rand.Rand) func() []float32 {
		const groups, spread = 200, 0.7
		centres := make([][]float32, groups)
		for i := range centres {
			centres[i] = unit(gaussian(r))
		}
		return func() []float32 {
			v, c := gaussian(r), centres[r.IntN(groups)]
			for i := range v {
				v[i] = c[i] + spread*v[i]/float32(math.Sqrt(float64(*dims)))
			}
			return unit(v)
		}
	},
}

func gaussian(r *rand.Rand) []float32 {
	v := make([]float32, *dims)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

func unit(v []float32) []float32 {
	n := float32(math.Sqrt(float64(dot(v, v))))
	for i := range v {
		v[i] /= n
	}
	return v
}
