package hosttest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// Case is one thing that somebody who means harm tries: an uploader, a guest or a
// caller.
type Case struct {
	ID   string // group and number; it never changes its meaning
	Says string // what is tried
	Gets string // what comes of it: a status, or a sentence
	// Calls is set when the case runs a guest; the others are over when the
	// upload is answered.
	Calls bool
	run   func(t *testing.T, s *stage)
}

// Groups names the groups of the corpus, by the letter that an ID begins with.
func Groups() map[byte]string {
	return map[byte]string{
		'A': "the binary and what comes with it", 'B': "processor time", 'C': "memory", 'D': "output, and the border between guest and host",
		'F': "files, environment, clock", 'G': "tenants and lives of modules", 'H': "what models and people read", 'S': "state of other calls",
	}
}

// Corpus returns every case, sorted by ID.
func Corpus() []Case {
	all := slices.Concat(uploadCases(), processorCases(), memoryCases(), borderCases(), systemCases(), tenantCases(), textCases(), stateCases())
	slices.SortFunc(all, func(a, b Case) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// RunHostile runs the corpus against a host that open makes; the host is closed by whoever
// opened it. Beside every case stands a customer's module in the same host, which must work
// before and after; and after every case three oracles look at what is left: goroutines,
// memory, and the customer's secret in anything that came out.
//
// It takes the process's memory and environment into account, so nothing else may run at
// the same time.
func RunHostile(t *testing.T, open func(testing.TB, wasmhost.Config) *wasmhost.Host) {
	t.Helper()
	s := newStage(t, open)
	corpus := Corpus()
	rehearse(t, s, corpus)
	s.settle()
	for _, c := range corpus {
		t.Run(c.ID+" "+c.Says, func(t *testing.T) {
			running := goleak.IgnoreCurrent()
			s.visit(t)
			c.run(t, s)
			s.visit(t)
			s.examine(t, running)
		})
	}
}

// rehearse runs one case of the ordinary kind, so that the baseline holds what a process
// makes once.
func rehearse(t *testing.T, s *stage, corpus []Case) {
	t.Helper()
	t.Run("rehearsal", func(t *testing.T) {
		s.visit(t)
		i := slices.IndexFunc(corpus, func(c Case) bool { return c.Calls })
		corpus[i].run(t, s)
		s.baseline = 1 << 62
		s.examine(t, goleak.IgnoreCurrent())
	})
}

// patience is how long a case's uploads and calls may take beyond their deadlines on a
// machine that does much else. What is promised is far less; see docs/security.md.
const patience = 20 * time.Second

// gets checks a status.
func gets(t *testing.T, err error, want ...status.Code) {
	t.Helper()
	code := status.OK
	if err != nil {
		code = status.Of(err)
	}
	assert.Contains(t, want, code, "%v", err)
	if err != nil {
		wire := status.ToWire(err, false)
		assert.Less(t, len(wire.Message), 16<<10, "the text is not bounded")
		assert.NotContains(t, wire.Message, "\x1b", "the text holds control characters")
		assert.NotContains(t, wire.Message, "\r")
	}
}

// refuses is a case whose uploads must all be refused, in time, with a text that may be
// shown.
func refuses(id, says string, code status.Code, uploads func() map[string]wasmhost.Upload) Case {
	return Case{ID: id, Says: says, Gets: "`" + code.String() + "`", run: func(t *testing.T, s *stage) {
		t.Helper()
		for name, up := range uploads() {
			start := time.Now()
			err := s.load(t.Context(), up)
			require.Error(t, err, name)
			gets(t, err, code)
			assert.True(t, status.Convert(err).Public(), "%s: %v", name, err)
			assert.Less(t, time.Since(start), patience, name)
		}
	}}
}

// calls is a case whose module is accepted and whose tool "f" then comes to one of some
// codes; afterwards its tool "ok" must work.
func calls(id, says string, make func() *guest, input string, codes ...status.Code) Case {
	return calling(id, says, make, input, nil, codes...)
}

// calling is calls with a look at the outcome.
func calling(id, says string, make func() *guest, input string, check func(*testing.T, *stage, outcome), codes ...status.Code) Case {
	return Case{ID: id, Says: says, Gets: names(codes), Calls: true, run: func(t *testing.T, s *stage) {
		t.Helper()
		require.NoError(t, s.load(t.Context(), make().upload("hostile")))
		o := s.call(t.Context(), "hostile/f", input, nil)
		gets(t, o.err, codes...)
		assert.Less(t, o.took, patience)
		if check != nil {
			check(t, s, o)
		}
		ok := s.call(t.Context(), "hostile/ok", "", nil)
		require.NoError(t, ok.err, "the module no longer works")
	}}
}

// scene is a case of its own kind.
func scene(id, says, gets string, run func(t *testing.T, s *stage)) Case {
	return Case{ID: id, Says: says, Gets: gets, Calls: true, run: run}
}

func names(codes []status.Code) string {
	texts := make([]string, len(codes))
	for i, c := range codes {
		texts[i] = "`" + c.String() + "`"
	}
	return strings.Join(texts, " or ")
}
