//go:build unix

package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A command that reads from a pipe to which nobody writes ends after one signal, too.
func TestOneSignalEndsACommandThatReads(t *testing.T) {
	for name, args := range map[string]func(pipe string) []string{
		"a value":  func(pipe string) []string { return []string{"call", "calc/add", "--input", "@" + pipe} },
		"a module": func(pipe string) []string { return []string{"inspect", pipe} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pipe := filepath.Join(t.TempDir(), "pipe")
			require.NoError(t, syscall.Mkfifo(pipe, 0o600))
			p := &process{t: t, Cmd: command(t, args(pipe)...)}
			p.Stderr = &p.log
			require.NoError(t, p.Start())
			t.Cleanup(func() { _ = p.Process.Kill() })
			in, err := os.OpenFile(pipe, os.O_WRONLY, 0) // when the command opens it, too
			require.NoError(t, err)
			defer in.Close()
			require.NoError(t, p.Process.Signal(syscall.SIGINT))
			assert.Equal(t, exitInterrupted, p.wait(15*time.Second), "%v", &p.log)
		})
	}
}
