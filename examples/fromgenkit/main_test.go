package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write port.diff anew; look at what changed")

func Example() {
	if err := run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// answer: Done (1 answer), thank you.
	// greeting: Certainly: Greet Bob.
	// suggestion: apple cake for 5.00
	// story: 7 words
	// interrupt: expensive, 28.00
	// order: Done (1 answer), thank you.
	// evaluation: polite PASS
}

// maxChanged is how many lines of the port may differ from the original.
const maxChanged = 60

// TestThePortChangesFewLines compares the app as it is written for Genkit Go with its
// port. A line that was replaced counts once. port.diff is what differs.
func TestThePortChangesFewLines(t *testing.T) {
	original, port := lines(t, "genkit.go.txt"), lines(t, "main.go")
	c := compare(original, port)
	t.Logf("of %d lines, %d changed: %d of the original are gone, %d of the port are new", len(original), c.changed, c.gone, c.added)
	assert.LessOrEqual(t, c.changed, maxChanged)
	if *update {
		require.NoError(t, os.WriteFile("port.diff", []byte(c.text.String()), 0o600))
	}
	kept, err := os.ReadFile("port.diff")
	require.NoError(t, err)
	assert.Equal(t, string(kept), c.text.String(), "run the test with -update")
}

func TestChangedLinesAreCounted(t *testing.T) {
	c := compare(strings.Split("a b c d", " "), strings.Split("a x y c", " "))
	assert.Equal(t, []int{2, 2, 3}, []int{c.gone, c.added, c.changed}, "b became x and y, d is gone")
	assert.Equal(t, "@@ 2\n-b\n+x\n+y\n@@ 4\n-d\n", c.text.String())
	c = compare([]string{"a"}, []string{"a"})
	assert.Zero(t, c.changed)
}

func lines(t *testing.T, name string) []string {
	t.Helper()
	raw, err := os.ReadFile(name)
	require.NoError(t, err)
	return strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
}

// comparison counts the lines that one text lacks, those that it has more, and the larger
// of the two at each place that differs. The text shows each place with its line in the
// first text.
type comparison struct {
	gone, added, changed int
	text                 strings.Builder
}

// compare goes along a longest common subsequence.
func compare(a, b []string) *comparison {
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i, left := range slices.Backward(a) {
		for j, right := range slices.Backward(b) {
			common[i][j] = max(common[i+1][j], common[i][j+1])
			if left == right {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	c := &comparison{}
	i, j, fromA, fromB := 0, 0, 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			c.place(fromA+1, a[fromA:i], b[fromB:j])
			i, j = i+1, j+1
			fromA, fromB = i, j
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			i++
		default:
			j++
		}
	}
	c.place(fromA+1, a[fromA:], b[fromB:])
	return c
}

// place notes one place that differs.
func (c *comparison) place(line int, gone, added []string) {
	if len(gone)+len(added) == 0 {
		return
	}
	c.gone, c.added, c.changed = c.gone+len(gone), c.added+len(added), c.changed+max(len(gone), len(added))
	fmt.Fprintf(&c.text, "@@ %d\n", line)
	for _, l := range gone {
		fmt.Fprintf(&c.text, "-%s\n", l)
	}
	for _, l := range added {
		fmt.Fprintf(&c.text, "+%s\n", l)
	}
}
