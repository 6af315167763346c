package main

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// maxBenchCalls bounds the events that are kept.
const maxBenchCalls = 1_000_000

func (a *app) benchCommand() *cobra.Command {
	var f toolFlags
	count := 200
	cmd := &cobra.Command{
		Use:   "bench FILE [TOOL]",
		Short: "Measure what a call of a tool costs, without a server",
		Long: "Bench calls a tool of a module or a script in this process again and again with the same input, and prints its fuel, its time and its memory. " +
			"Fuel counts the instructions that ran: it is the same on every machine, and what limits and bills go by. Times are those of this machine, from the start of the guest to its end. " +
			"A call that fails ends it.",
		Example: "  genkit-wasm bench greeter.wasm greet --input '{\"name\":\"Ada\"}'",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.take(args)
			return a.bench(cmd.Context(), &f, count)
		},
	}
	f.add(cmd)
	wholeFlag(cmd.Flags(), &count, "count", 1, maxBenchCalls, "how many calls")
	return cmd
}

// cost is the output of bench for programs.
type cost struct {
	Module      string          `json:"module"`
	Tool        string          `json:"tool"` // with its module, such as calc/add
	Calls       int             `json:"calls"`
	Fuel        spread[int64]   `json:"fuel"`
	WallMicros  spread[float64] `json:"wallMicros"`
	MemoryBytes int64           `json:"memoryBytes"` // the most of an instance
	InputBytes  int             `json:"inputBytes"`
	OutputBytes int             `json:"outputBytes"` // of the last call
}

// spread tells how values are spread.
type spread[T cmp.Ordered] struct {
	Min    T `json:"min"`
	Median T `json:"median"`
	P95    T `json:"p95"`
	Max    T `json:"max"`
}

func spreadOf[T cmp.Ordered](values []T) spread[T] {
	slices.Sort(values)
	n := len(values)
	return spread[T]{values[0], values[(n-1)/2], values[(n-1)*95/100], values[n-1]}
}

// recorder keeps the events of calls.
type recorder struct {
	mu     sync.Mutex
	events []tenant.Event
}

func (r *recorder) Record(e tenant.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (a *app) bench(ctx context.Context, f *toolFlags, count int) error {
	measured := &recorder{}
	f.sink = measured
	ctx, call, err := a.openCall(ctx, f)
	if err != nil {
		return err
	}
	defer call.host.close()
	if err := call.again(ctx, count); err != nil {
		return err
	}
	if len(measured.events) == 0 {
		return usagef("%s runs nothing of the module, so there is no cost to measure", call.tool.Desc().Key())
	}
	return a.printCost(measured.cost())
}

// again makes the call count times, one after the other.
func (c *localCall) again(ctx context.Context, count int) error {
	for range count {
		_, err := c.tool.RunJSON(ctx, c.input, func(json.RawMessage) error { return nil })
		if _, interrupted := tool.AsInterrupt(err); err != nil && !interrupted {
			return callFailure(ctx, err)
		}
	}
	return nil
}

// cost sums up the events; there is one at least.
func (r *recorder) cost() *cost {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.events[len(r.events)-1]
	c := &cost{Module: last.Module, Tool: last.Tool, Calls: len(r.events), InputBytes: last.InputBytes, OutputBytes: last.OutputBytes}
	var fuel []int64
	var wall []float64
	for _, e := range r.events {
		fuel = append(fuel, e.Fuel)
		wall = append(wall, float64(e.WallNS)/float64(time.Microsecond))
		c.MemoryBytes = max(c.MemoryBytes, e.MemoryBytes)
	}
	c.Fuel, c.WallMicros = spreadOf(fuel), spreadOf(wall)
	return c
}

func (a *app) printCost(c *cost) error {
	if a.json() {
		return a.printJSON(c)
	}
	if err := a.line("%s: %d calls, %s in, %s out, %s of memory", c.Tool, c.Calls, size(c.InputBytes), size(c.OutputBytes), size(int(c.MemoryBytes))); err != nil {
		return err
	}
	if err := a.line("fuel  median %d, min %d, max %d", c.Fuel.Median, c.Fuel.Min, c.Fuel.Max); err != nil {
		return err
	}
	return a.line("time  median %.1f µs, min %.1f, 95th percentile %.1f, max %.1f", c.WallMicros.Median, c.WallMicros.Min, c.WallMicros.P95, c.WallMicros.Max)
}
