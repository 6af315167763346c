//go:build !linux

package compile

import (
	"os"
	"os/exec"
	"time"
)

// ownProgram names the program that runs. A file that was replaced meanwhile is another program, whose
// engine the child then refuses.
func ownProgram() (string, error) { return os.Executable() }

// The system's limits are for Linux; elsewhere watch alone ends a child.
func isolate(*exec.Cmd) {}

func outOfCPU(*exec.ExitError) bool { return false }

func confine(time.Duration, int64) {}

// consumed takes the time since the start for processor time: a compiling process does
// nothing but compute.
func consumed(start time.Time) (time.Duration, int64) { return time.Since(start), goMemory() }
