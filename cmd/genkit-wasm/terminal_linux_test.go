package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a pseudo-terminal: the person's and the program's.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, person.Close()) })
	require.NoError(t, unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, program.Close()) })
	return person, program
}

// seen reads the screen up to the end of a text.
func seen(t *testing.T, person *os.File, until string) string {
	t.Helper()
	var all []byte
	for !strings.Contains(string(all), until) {
		b := make([]byte, 4096)
		n, err := person.Read(b)
		require.NoError(t, err, "%q", all)
		all = append(all, b[:n]...)
	}
	return string(all)
}

func TestRmAsksAPerson(t *testing.T) {
	url := startServer(t)
	require.Equal(t, exitOK, cli(t, "upload", calcFile, "--server", url).exit)
	person, program := openTerminal(t)
	rm := func(answer string) int {
		_, err := person.WriteString(answer)
		require.NoError(t, err)
		return execute(t.Context(), []string{"rm", "calc", "--server", url}, program, program, program)
	}
	assert.Equal(t, exitFailed, rm("n\n"))
	assert.Contains(t, seen(t, person, "nothing was removed"), "Remove module calc with all its revisions and stored values? [y/N]")
	assert.Contains(t, cli(t, "ls", "--server", url).out, "calc")
	assert.Equal(t, exitFailed, rm("\n"), "silence is no consent")
	assert.Equal(t, exitOK, rm("y\n"))
	assert.NotContains(t, cli(t, "ls", "--server", url).out, "calc")
}

// slowly gives a byte after each pause.
type slowly struct{}

func (slowly) Read(b []byte) (int, error) {
	time.Sleep(300 * time.Millisecond) // of the bubble's clock
	return copy(b, "x"), nil
}

// The progress of an upload is cleared before its result is printed, and is not written
// to a file.
func TestProgressLeavesItsLine(t *testing.T) {
	const clear = "\r\x1b[K"
	upload := func(a *app, bytes int) {
		p := &progress{Reader: slowly{}, app: a, total: 10}
		for range bytes {
			_, _ = p.Read(make([]byte, 1))
		}
		time.Sleep(time.Second) // the server works
		p.end()
		_ = a.line("the result")
	}
	for name, bytes := range map[string]int{"whole": 10, "refused before it is whole": 5} {
		t.Run(name, func(t *testing.T) {
			person, program := openTerminal(t)
			synctest.Test(t, func(*testing.T) { upload(&app{out: program, err: program}, bytes) })
			screen := seen(t, person, "the result\r\n")
			assert.Contains(t, screen, clear+"uploading 50 %")
			assert.True(t, strings.HasSuffix(screen, clear+"the result\r\n"), "%q", screen)
			assert.Equal(t, bytes == 10, strings.Contains(screen, "checking and compiling on the server, 1 s"))
		})
	}
	var out, errs bytes.Buffer
	synctest.Test(t, func(*testing.T) { upload(&app{out: &out, err: &errs}, 10) })
	assert.Equal(t, "the result\n", out.String())
	assert.Empty(t, errs.String())
}

// A table is as wide as the terminal that it is printed on, and whole in a file.
func TestATableFitsItsTerminal(t *testing.T) {
	url := startServer(t)
	require.Equal(t, exitOK, cli(t, "upload", calcFile, "--server", url).exit)
	person, program := openTerminal(t)
	require.NoError(t, unix.IoctlSetWinsize(int(person.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: 60}))
	require.Equal(t, exitOK, execute(t.Context(), []string{"ls", "--actions", "--server", url}, program, program, program))
	lines := strings.SplitSeq(strings.TrimSpace(seen(t, person, "calc/echo")), "\r\n")
	for line := range lines {
		assert.LessOrEqual(t, len([]rune(line)), 60, "%q", line)
	}
	widest := 0
	for line := range strings.Lines(cli(t, "ls", "--actions", "--server", url).out) {
		widest = max(widest, len([]rune(line)))
	}
	assert.Greater(t, widest, 61)
}
