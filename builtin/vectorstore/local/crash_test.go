package local_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
)

const crashEnv = "GENKIT_WASM_TEST_INDEX_INTO"

// perBatch is how many documents one acknowledgement of the child is about; they take
// several frames of the journal.
const perBatch = 6

// TestMain is also the child of [TestNothingAcknowledgedIsLost]: it puts batches into a
// store until it is killed, and says after each that it is stored.
func TestMain(m *testing.M) {
	path := os.Getenv(crashEnv)
	if path == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := putUntilKilled(path); err != nil {
		fmt.Fprintln(os.Stdout, "error", err)
		os.Exit(1)
	}
}

func putUntilKilled(path string) error {
	s, err := local.Open(local.Config{Dir: path})
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, s.Stats().Documents/perBatch)
	for batch := s.Stats().Documents/perBatch + 1; ; batch++ {
		var entries []local.Entry
		for i := range perBatch {
			e := numbered(batch*perBatch+i, []float64{float64(batch), float64(i), 1})
			e.Document.Content = append(e.Document.Content, content.NewTextPart(strings.Repeat("x", 200_000)))
			e.Document.Metadata["batch"] = json.RawMessage(strconv.Itoa(batch))
			entries = append(entries, e)
		}
		if err := s.Put(context.Background(), entries); err != nil {
			return err
		}
		if batch%5 == 0 {
			if err := s.Compact(context.Background()); err != nil {
				return err
			}
		}
		fmt.Fprintln(os.Stdout, batch)
	}
}

// TestNothingAcknowledgedIsLost kills a process that indexes, and compacts, at random
// moments, and looks at what it leaves: every batch that it called stored is there, at
// most one more, and none by halves.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	path, last := t.TempDir(), 0
	for round := range rounds {
		acknowledged := max(last, killed(t, path, round))
		s, err := local.Open(local.Config{Dir: path})
		require.NoError(t, err)
		found := s.Stats().Documents
		require.Zero(t, found%perBatch, "a batch is there by halves")
		last = found / perBatch
		require.Contains(t, []int{acknowledged, acknowledged + 1}, last)
		for batch := max(1, last-2); batch <= last; batch++ {
			got := search(t, s, local.Query{K: 10, Filter: json.RawMessage(fmt.Sprintf(`{"batch":%d}`, batch))}, float64(batch), 0, 1)
			require.Len(t, got, perBatch)
			require.Len(t, *got[0].Document.Content[1].Text, 200_000)
		}
		require.NoError(t, s.Close())
	}
	t.Logf("%d processes killed, %d batches stored", rounds, last)
	assert.Positive(t, last, "no batch was ever finished")
}

// killed lets a child index for a moment and returns the last batch that it called stored.
func killed(t *testing.T, path string, round int) int {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	// It is killed some time after some answers: however slow the machine is, there is
	// progress.
	r := seeded(uint64(time.Now().UnixNano()), uint64(round))
	answers, delay := r.IntN(4), time.Duration(r.IntN(60))*time.Millisecond
	var timer *time.Timer
	last := 0
	for lines := bufio.NewScanner(out); lines.Scan(); answers-- {
		if answers <= 0 && timer == nil {
			timer = time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
		}
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			require.NotContains(t, lines.Text(), "error") // a line that the kill has cut is no answer
			continue
		}
		last = n
	}
	_ = cmd.Wait() // it was killed
	return last
}
