//go:build !linux

package worker

import "time"

func processorTime(int) (time.Duration, bool) { return 0, false }

func threadTime(int, int64) (time.Duration, bool) { return 0, false }

func lowerPriority(int) {}
