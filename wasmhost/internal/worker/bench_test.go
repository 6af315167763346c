package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkNeighbours measures what a tenant whose modules end their workers does to the
// calls of another one, which calls every millisecond: the 99th percentile of its times
// beside such a tenant, and alone, in turns of 3 s and more. Each turn the module is new, as
// after an upload, and ends as many workers as the pool lets it before it is in quarantine.
func BenchmarkNeighbours(b *testing.B) {
	for _, way := range ways {
		if way == "killed" {
			continue // by somebody else: nobody is in quarantine for it
		}
		b.Run(way, func(b *testing.B) {
			p := newPool(b, func(c *Config) { c.MemoryBytes, c.Logger = 64<<20, nil })
			evil, good := counter(b, p, "evil"), counter(b, p, "good")
			_, err := ask(b.Context(), good, "{}")
			require.NoError(b, err)
			for b.Loop() {
				var alone, beside []time.Duration
				var ratios []float64
				ended := 0
				for range 5 {
					quiet := p99(b, good, 3000)
					over := make(chan struct{})
					var wg sync.WaitGroup
					p.pardon(evil)
					p.calm("evil")
					wg.Go(func() {
						pause := time.NewTicker(time.Millisecond) // a caller who is refused asks again
						defer pause.Stop()
						for {
							if _, err := ask(context.Background(), evil, fmt.Sprintf("%q", way)); reasonOf(err) == reasonCulprit {
								ended++
							}
							select {
							case <-over:
								return
							case <-pause.C:
							}
						}
					})
					loud := p99(b, good, 3000)
					close(over)
					wg.Wait()
					alone, beside, ratios = append(alone, quiet), append(beside, loud), append(ratios, float64(loud)/float64(quiet))
				}
				slices.Sort(alone)
				slices.Sort(beside)
				slices.Sort(ratios)
				b.ReportMetric(ratios[len(ratios)/2], "ratio")
				b.ReportMetric(float64(alone[len(alone)/2].Microseconds()), "µs-p99-alone")
				b.ReportMetric(float64(beside[len(beside)/2].Microseconds()), "µs-p99-beside")
				b.ReportMetric(float64(ended)/float64(len(ratios)), "ends/turn")
			}
		})
	}
}
