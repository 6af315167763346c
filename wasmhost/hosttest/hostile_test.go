package hosttest_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/hosttest"
)

func TestTheHostileCorpusIsContained(t *testing.T) {
	for name, interpreter := range map[string]bool{"compiler": false, "interpreter": true} {
		t.Run(name, func(t *testing.T) {
			hosttest.RunHostile(t, func(tb testing.TB, config wasmhost.Config) *wasmhost.Host {
				tb.Helper()
				config.Interpreter = interpreter
				h, err := wasmhost.New(tb.Context(), config)
				require.NoError(tb, err)
				tb.Cleanup(func() { require.NoError(tb, h.Close(context.Background())) })
				return h
			})
		})
	}
}

// docs/hostile.md lists the corpus as it is. UPDATE=1 writes the list.
func TestTheCorpusIsDocumented(t *testing.T) {
	const file, begin = "../../docs/hostile.md", "<!-- the corpus, written by wasmhost/hosttest -->\n"
	corpus := hosttest.Corpus()
	require.True(t, slices.IsSortedFunc(corpus, func(a, b hosttest.Case) int { return strings.Compare(a.ID, b.ID) }))
	groups := hosttest.Groups()
	var list strings.Builder
	last := ""
	for _, c := range corpus {
		require.NotEqual(t, last, c.ID, "an ID twice")
		require.Contains(t, groups, c.ID[0])
		if last == "" || last[0] != c.ID[0] {
			fmt.Fprintf(&list, "\n## %s: %s\n\n| | what is tried | what comes of it |\n|---|---|---|\n", c.ID[:1], groups[c.ID[0]])
		}
		fmt.Fprintf(&list, "| %s | %s | %s |\n", c.ID, c.Says, c.Gets)
		last = c.ID
	}
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	text, _, found := strings.Cut(string(page), begin)
	require.True(t, found)
	want := text + begin + list.String()
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(file, []byte(want), 0o600))
		return
	}
	assert.Equal(t, want, string(page), "run the test with UPDATE=1")
}
