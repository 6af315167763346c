package hosttest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// Case is one thing that somebody who means harm tries: an uploader, a guest or a
// caller.
type Case struct {
	ID   string // group and number; it never changes its meaning
	Says string // the attack
	Gets string // the result: a status, or a sentence
	// Calls is set when the case runs a guest; the others are over when the
	// upload is answered.
	Calls bool
	// Seen says where it was tried before: an advisory, an issue of an engine.
	Seen []string
	// Twin is set where the engine refuses what WebAssembly forbids, and no limit of this
	// host's is needed: it says what differs in the module that the case shows to be
	// accepted.
	Twin string
	run  func(t *testing.T, s *stage)
}

// seen says where a case comes from.
func (c Case) seen(where ...string) Case {
	c.Seen = append(c.Seen, where...)
	return c
}

// twin has a case go on with a module that differs in what is said, and must be accepted.
func (c Case) twin(says string, make func() wasmhost.Upload) Case {
	run := c.run
	c.Twin = says
	c.run = func(t *testing.T, s *stage) {
		t.Helper()
		run(t, s)
		require.NoError(t, s.load(t.Context(), make()), "what is right must be accepted")
	}
	return c
}

// twinCall is twin for what a call comes to: the tool "f" of the twin must succeed.
func (c Case) twinCall(says, input string, make func() *guest) Case {
	c = c.twin(says, func() wasmhost.Upload { return make().upload("hostile") })
	run := c.run
	c.run = func(t *testing.T, s *stage) {
		t.Helper()
		run(t, s)
		require.NoError(t, s.call(t.Context(), "hostile/f", input, nil).err, "what is right must work")
	}
	return c
}

// Groups names the groups of the corpus, by the letter that an ID begins with.
func Groups() map[byte]string {
	return map[byte]string{
		'A': "the binary and what comes with it", 'B': "processor time", 'C': "memory", 'D': "output, and the border between guest and host",
		'E': "the network, stores, other actions", 'F': "files, environment, clock", 'G': "tenants and lives of modules", 'H': "what models and people read", 'M': "middleware and formats", 'S': "state of other calls", 'W': "what the engine promises",
	}
}

// rehearse loads and calls a module, so that the baseline holds what a process
// makes once.
func rehearse(t *testing.T, s *stage) {
	t.Helper()
	ok := t.Run("rehearsal", func(t *testing.T) {
		s.callCustomer(t)
		require.NoError(t, s.load(t.Context(), outputs("1").upload("hostile")))
		require.Equal(t, "1", string(s.call(t.Context(), "hostile/f", "", nil).out))
		s.baseline = 1 << 62
		s.examine(t, goleak.IgnoreCurrent())
	})
	if !ok {
		t.FailNow()
	}
}

// rounds is how often something is done again that takes a compiling process each time;
// under the race detector that takes a second or more.
func rounds(n int) int {
	if raceDetector {
		return min(n, 4)
	}
	return n
}

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
		if _, interrupted := tool.AsInterrupt(o.err); o.err != nil && !interrupted { // a text that is not for callers comes of a fault of the host
			assert.True(t, status.Convert(o.err).Public(), "%v", o.err)
		}
		assert.Less(t, o.took, patience)
		if check != nil {
			check(t, s, o)
		}
		ok := s.call(t.Context(), "hostile/ok", "", nil)
		require.NoError(t, ok.err, "the module no longer works")
	}}
}

// scripted is a case that needs a script of its own.
func scripted(id, says, gets string, run func(t *testing.T, s *stage)) Case {
	return Case{ID: id, Says: says, Gets: gets, Calls: true, run: run}
}

func names(codes []status.Code) string {
	texts := make([]string, len(codes))
	for i, c := range codes {
		texts[i] = "`" + c.String() + "`"
	}
	return strings.Join(texts, " or ")
}
