//go:build peers

// Command bench measures generate calls of two turns with one native tool: this
// engine, Genkit's Go SDK, eino, and Genkit JS where it is installed.
//
// It owns the peers, the rounds and the table. Each measurement is a process of its
// own, since the Go SDK sets a tracer for the whole process; rounds are interleaved,
// so that a busy machine is unfair to all alike. Use:
//
//	go run -tags peers ./bench -rounds 5
//	go run -tags peers ./bench -peer ours -for 5s -cpuprofile cpu.out
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// result is one measurement.
type result struct {
	Calls     int64   `json:"calls"`
	Seconds   float64 `json:"seconds"`
	CPUMicros float64 `json:"cpuMicros"`
	Allocs    float64 `json:"allocs"`
	Bytes     float64 `json:"bytes"`
}

func (r result) perSecond() float64 { return float64(r.Calls) / r.Seconds }
func (r result) cpu() float64       { return r.CPUMicros }
func (r result) allocs() float64    { return r.Allocs }
func (r result) kilobytes() float64 { return r.Bytes / 1024 }

const warmUp = 200 * time.Millisecond

var (
	peer        = flag.String("peer", "", "measure this peer once, in this process, and print JSON")
	concurrency = flag.Int("c", 1, "goroutines, with -peer")
	duration    = flag.Duration("for", time.Second, "length of one measurement")
	rounds      = flag.Int("rounds", 5, "measurements of each peer")
	cpuProfile  = flag.String("cpuprofile", "", "write a CPU profile, with -peer")
	memProfile  = flag.String("memprofile", "", "write a profile of allocations, with -peer")
	jsDir       = flag.String("js", "js", "folder with bench.mjs and the installed packages")
)

// order is the table's order of rows; js is a process of Node.
var order = []string{"ours", "ours-untraced", "ours-recording", "genkit-go", "genkit-go-unsampled", "eino", "genkit-js"}

func main() {
	flag.Parse()
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the SDK logs to it
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) error {
	if *peer == "" {
		return compare(ctx, w)
	}
	setUp, known := peers[*peer]
	if !known {
		return fmt.Errorf("unknown peer %q", *peer)
	}
	fn, err := setUp(ctx)
	if err != nil {
		return err
	}
	r, err := profiled(ctx, fn)
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(r)
}

func profiled(ctx context.Context, fn call) (result, error) {
	if _, err := measure(ctx, fn, warmUp); err != nil {
		return result{}, err
	}
	if *memProfile != "" {
		runtime.MemProfileRate = 512
	}
	if *cpuProfile != "" {
		f, err := os.Create(*cpuProfile)
		if err != nil {
			return result{}, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return result{}, err
		}
	}
	r, err := measure(ctx, fn, *duration)
	pprof.StopCPUProfile()
	if err != nil || *memProfile == "" {
		return r, err
	}
	f, err := os.Create(*memProfile)
	if err != nil {
		return r, err
	}
	defer f.Close()
	return r, pprof.Lookup("allocs").WriteTo(f, 0)
}

// measure calls fn from c goroutines until the time is over.
func measure(ctx context.Context, fn call, length time.Duration) (result, error) {
	var (
		calls  atomic.Int64
		failed atomic.Pointer[error]
		wg     sync.WaitGroup
		before runtime.MemStats
		after  runtime.MemStats
	)
	runtime.GC()
	runtime.ReadMemStats(&before)
	cpu, start := cpuTime(), time.Now()
	end := start.Add(length)
	for range *concurrency {
		wg.Go(func() {
			for time.Now().Before(end) && failed.Load() == nil {
				if err := fn(ctx); err != nil {
					failed.Store(&err)
					return
				}
				calls.Add(1)
			}
		})
	}
	wg.Wait()
	seconds := time.Since(start).Seconds()
	used := cpuTime() - cpu
	runtime.ReadMemStats(&after)
	if err := failed.Load(); err != nil {
		return result{}, *err
	}
	n := float64(calls.Load())
	return result{
		Calls: calls.Load(), Seconds: seconds, CPUMicros: float64(used.Microseconds()) / n,
		Allocs: float64(after.Mallocs-before.Mallocs) / n, Bytes: float64(after.TotalAlloc-before.TotalAlloc) / n,
	}, nil
}

// cpuTime is the processor time of this process, in and out of the kernel.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // the arguments are constants
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// compare measures every peer in a process of its own, round by round.
func compare(ctx context.Context, w io.Writer) error {
	levels := []int{1, 64}
	results := map[string][]result{}
	skipped := map[string]error{}
	for round := range *rounds {
		for _, c := range levels {
			for _, name := range turned(round) {
				if skipped[name] != nil {
					continue
				}
				r, err := spawn(ctx, name, c)
				if err != nil {
					skipped[name] = err
					continue
				}
				results[key(name, c)] = append(results[key(name, c)], r)
			}
		}
	}
	for _, c := range levels {
		table(w, c, results)
	}
	for name, err := range skipped {
		fmt.Fprintf(w, "\n%s was skipped: %v\n", name, err)
	}
	return nil
}

func key(name string, c int) string { return name + " " + strconv.Itoa(c) }

func spawn(ctx context.Context, name string, c int) (result, error) {
	self, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	cmd := exec.CommandContext(ctx, self, "-peer", name, "-c", strconv.Itoa(c), "-for", duration.String())
	if name == "genkit-js" {
		cmd = exec.CommandContext(ctx, "node", "bench.mjs", strconv.Itoa(c), strconv.FormatInt(duration.Milliseconds(), 10))
		cmd.Dir = *jsDir
	}
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		return result{}, fmt.Errorf("%w: %.300s", err, failed.String())
	}
	var r result
	return r, json.Unmarshal(out, &r)
}

// turned is the order of a round: there and back again.
func turned(round int) []string {
	names := slices.Clone(order)
	if round%2 == 1 {
		slices.Reverse(names)
	}
	return names
}

// table prints medians with their range. Ratios are medians over the rounds, in each
// of which both ran within seconds: of calls per second, how often faster this
// engine is, and of CPU, how much more the peer uses.
func table(w io.Writer, c int, results map[string][]result) {
	fmt.Fprintf(w, "\nconcurrency %d, %d rounds of %s, GOMAXPROCS %d\n\n", c, *rounds, *duration, runtime.GOMAXPROCS(0))
	fmt.Fprintln(w, "| peer | calls/s median [min-max] | CPU us/call [min-max] | allocs/call | KB/call | ours/peer calls/s | peer/ours CPU |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
	base := results[key("ours", c)]
	for _, name := range order {
		list := results[key(name, c)]
		if len(list) != len(base) || len(base) == 0 {
			continue
		}
		fmt.Fprintf(w, "| %s | %.0f | %.1f | %s | %s | %.2f | %.2f |\n", name, spread(list, result.perSecond), spread(list, result.cpu),
			told(spread(list, result.allocs).median, "%.0f"), told(spread(list, result.kilobytes).median, "%.1f"),
			ratio(base, list, result.perSecond), ratio(list, base, result.cpu))
	}
	goals(w, c, results)
}

// The goals: so many times the Go SDK's calls per second with tracing as by default,
// and, untraced, at most so many times eino's CPU, which validates nothing.
const (
	goalRate = 20
	goalCPU  = 1.5
)

func goals(w io.Writer, c int, results map[string][]result) {
	ours, sdk := results[key("ours", c)], results[key("genkit-go", c)]
	untraced, eino := results[key("ours-untraced", c)], results[key("eino", c)]
	if len(ours) == 0 || len(ours) != len(sdk) || len(untraced) == 0 || len(untraced) != len(eino) {
		return
	}
	rate, cpu := ratio(ours, sdk, result.perSecond), ratio(untraced, eino, result.cpu)
	fmt.Fprintf(w, "\ncalls/s, ours to genkit-go: %.2f, want at least %d: %t\nCPU, ours-untraced to eino: %.2f, want at most %.1f: %t\n",
		rate, goalRate, rate.median >= goalRate, cpu, goalCPU, cpu.median <= goalCPU)
}

// ratio is that of two peers, round by round.
func ratio(a, b []result, of func(result) float64) span {
	values := make([]float64, len(a))
	for i := range a {
		values[i] = of(a[i]) / of(b[i])
	}
	return newSpan(values)
}

// told is a figure, or a dash when it was not measured.
func told(v float64, format string) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

// span is a median and its range.
type span struct{ least, median, most float64 }

// Format prints "median [least-most]", each as the verb says.
func (s span) Format(f fmt.State, verb rune) {
	each := fmt.FormatString(f, verb)
	fmt.Fprintf(f, each+" ["+each+"-"+each+"]", s.median, s.least, s.most)
}

func spread(list []result, of func(result) float64) span {
	values := make([]float64, len(list))
	for i, r := range list {
		values[i] = of(r)
	}
	return newSpan(values)
}

func newSpan(values []float64) span {
	slices.SortFunc(values, cmp.Compare)
	return span{values[0], values[len(values)/2], values[len(values)-1]}
}
