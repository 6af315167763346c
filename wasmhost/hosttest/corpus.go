package hosttest

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// The types of this file refer to each other; the other files hold their methods.

// Corpus returns every case, sorted by ID.
func Corpus() []Case {
	all := slices.Concat(uploadCases(), processorCases(), memoryCases(), borderCases(), systemCases(), wasiCases(), tenantCases(), textCases(), stateCases(), engineCases(), grantedCases(), hookCases(), endlessCases(), policyCases(), handleCases())
	from := sources()
	for i := range all {
		all[i].Seen = append(all[i].Seen, from[all[i].ID]...)
	}
	slices.SortFunc(all, func(a, b Case) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// RunHostile runs the corpus against a host that open makes; the caller closes the host.
// Beside every case a customer's module is loaded in the same host, which must work before
// and after; and after every case three oracles look at what is left: goroutines, memory,
// and the customer's secret in anything that came out.
//
// It takes the process's memory and environment into account, so nothing else may run at
// the same time.
//
// When pick is given, only the cases are run that each of them picks.
func RunHostile(t *testing.T, open func(testing.TB, wasmhost.Config) *wasmhost.Host, pick ...func(Case) bool) {
	t.Helper()
	s := newStage(t, open)
	corpus := slices.DeleteFunc(Corpus(), func(c Case) bool {
		return slices.ContainsFunc(pick, func(p func(Case) bool) bool { return !p(c) })
	})
	rehearse(t, s)
	s.measureBaseline()
	for _, c := range corpus {
		t.Run(c.ID+" "+c.Says, func(t *testing.T) {
			running := goleak.IgnoreCurrent()
			defer s.examine(t, running) // also when what is required does not hold
			s.callCustomer(t)
			c.run(t, s)
			s.callCustomer(t)
		})
	}
}
