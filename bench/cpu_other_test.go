//go:build !unix

package bench_test

import "time"

func processorTime() time.Duration { return 0 }
