package hosttest_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/hosttest"
)

func TestTheHostileCorpusIsContained(t *testing.T) {
	for name, mode := range map[string]wasmhost.Config{
		"compiler": {}, "interpreter": {Interpreter: true}, "workers": {Isolation: wasmhost.Process, Compiler: program},
	} {
		t.Run(name, func(t *testing.T) {
			hosttest.RunHostile(t, func(tb testing.TB, config wasmhost.Config) *wasmhost.Host {
				tb.Helper()
				config.Interpreter, config.Isolation = mode.Interpreter, mode.Isolation
				if len(mode.Compiler) > 0 { // the same bytes come again and again
					config.Compiler, config.CacheDir = mode.Compiler, tb.TempDir()
				}
				h, err := wasmhost.New(tb.Context(), config)
				require.NoError(tb, err)
				tb.Cleanup(func() { require.NoError(tb, h.Close(context.Background())) })
				return h
			}, picked(name))
		})
	}
}

// picked says which cases run in a mode. The reasons to refuse a module are the same in all of them, except for
// workers, which compile elsewhere; so only cases that call guests run in these, but for D29: its 100,000 chunks cross to
// another process, which on a busy machine takes longer than a call may, and what counts them is the same code. In short runs, and under the race
// detector, where everything takes ten times as long, every fifth case runs in the modes beside the compiler's.
func picked(mode string) func(hosttest.Case) bool {
	every := map[string]bool{}
	for i, c := range hosttest.Corpus() {
		every[c.ID] = mode == "compiler" || !raceDetector && !testing.Short() || i%5 == 0
	}
	return func(c hosttest.Case) bool { return every[c.ID] && (mode != "workers" || c.Calls && c.ID != "D29") }
}

// docs/hostile.md lists the corpus as it is. UPDATE=1 writes the list.
func TestTheCorpusIsDocumented(t *testing.T) {
	const file, begin = "../../docs/hostile.md", "<!-- the corpus, written by wasmhost/hosttest -->\n"
	corpus := hosttest.Corpus()
	require.True(t, slices.IsSortedFunc(corpus, func(a, b hosttest.Case) int { return strings.Compare(a.ID, b.ID) }))
	groups, holds := hosttest.Groups(), held(t)
	var list strings.Builder
	last := ""
	for _, c := range corpus {
		require.NotEqual(t, last, c.ID, "an ID twice")
		require.Contains(t, groups, c.ID[0])
		if last == "" || last[0] != c.ID[0] {
			fmt.Fprintf(&list, "\n## %s: %s\n\n| | what is tried | what comes of it | what holds it | seen |\n|---|---|---|---|---|\n", c.ID[:1], groups[c.ID[0]])
		}
		fmt.Fprintf(&list, "| %s | %s | %s | %s | %s |\n", c.ID, c.Says, c.Gets, holds[c.ID], links(c.Seen))
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

// number is an issue or pull request on GitHub, advisory a number of the list of vulnerabilities.
var (
	number   = regexp.MustCompile(`^([\w.-]+/[\w.-]+)#(\d+)$`)
	advisory = regexp.MustCompile(`^CVE-\d+-\d+$`)
)

// links links what has an address.
func links(seen []string) string {
	list := make([]string, len(seen))
	for i, s := range seen {
		switch m := number.FindStringSubmatch(s); {
		case m != nil:
			list[i] = fmt.Sprintf("[%s](https://github.com/%s/issues/%s)", s, m[1], m[2])
		case advisory.MatchString(s):
			list[i] = fmt.Sprintf("[%s](https://nvd.nist.gov/vuln/detail/%s)", s, s)
		default:
			list[i] = s
		}
	}
	return strings.Join(list, ", ")
}
