// Package kittest finds kits that can't fail: it runs a kit on implementations that have one fault each.
//
// A kit ends the test that runs it, so each run is a process of its own, in which the test that called [Run] is run
// again. Use, in a test of the kit:
//
//	kittest.Run(t, func(t *testing.T, fault string) {
//		storetest.Run(t, func(*testing.T) store.Store { return &faulty{fault: fault} })
//	}, map[string]string{"loses each second write": "what is written is there"})
package kittest

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// env has the fault of a child, "-" for none.
const env = "GENKIT_WASM_TEST_FAULT"

// Run wants that kit passes with the fault "", which is none; that with each of faults it fails, in the part that the
// fault is listed with; and that each part of the kit fails with one of them, so that none is without use. A part is a
// subtest that kit runs, by its name; "" stands for a kit without parts. Only one test at a time may call Run, once,
// and it does nothing else.
func Run(t *testing.T, kit func(t *testing.T, fault string), faults map[string]string) {
	t.Helper()
	if fault, child := os.LookupEnv(env); child {
		kit(t, strings.TrimPrefix(fault, "-"))
		return
	}
	wrongs := children(t, slices.Sorted(maps.Keys(faults)))
	right := child(t, "-")
	if right.err != nil {
		t.Fatalf("the kit refuses an implementation that is right:\n%s", right.out)
	}
	idle := map[string]bool{}
	for _, part := range right.parts["PASS"] {
		idle[part] = true
	}
	for _, fault := range slices.Sorted(maps.Keys(faults)) {
		part := strings.ReplaceAll(faults[fault], " ", "_") // as tests are named
		wrong := wrongs[fault]
		switch {
		case wrong.err == nil:
			t.Errorf("the kit does not find an implementation that %s", fault)
		case !strings.Contains(wrong.out, "--- FAIL: "+t.Name()):
			t.Errorf("with an implementation that %s the kit does not fail, but: %v\n%s", fault, wrong.err, wrong.out)
		case part != "" && !slices.Contains(wrong.parts["FAIL"], part):
			t.Errorf("an implementation that %s is not found by the part %q, but by %q\n%s", fault, faults[fault], wrong.parts["FAIL"], wrong.out)
		}
		for _, failed := range wrong.parts["FAIL"] {
			delete(idle, failed)
		}
	}
	for _, part := range slices.Sorted(maps.Keys(idle)) {
		t.Errorf("no fault has the part %q of the kit fail", part)
	}
}

// result is the end of a child.
type result struct {
	out   string
	err   error
	parts map[string][]string // by how they ended
}

// children runs the test again for each fault, a few at a time: they wait more than they work.
func children(t *testing.T, faults []string) map[string]result {
	t.Helper()
	const most = 4
	var (
		mu   sync.Mutex // guards all
		all  = map[string]result{}
		wg   sync.WaitGroup
		slot = make(chan struct{}, most)
	)
	for _, fault := range faults {
		slot <- struct{}{}
		wg.Go(func() {
			defer func() { <-slot }()
			r := child(t, fault)
			mu.Lock()
			defer mu.Unlock()
			all[fault] = r
		})
	}
	wg.Wait()
	return all
}

// partLine is the line that tells how a subtest ended.
var partLine = regexp.MustCompile(`(?m)^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)

// child runs the test again, in a process with a fault.
func child(t *testing.T, fault string) result {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		return result{err: err}
	}
	pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^") + "$"
	cmd := exec.CommandContext(t.Context(), exe, "-test.run="+pattern, "-test.v", "-test.timeout=120s", fmt.Sprintf("-test.short=%t", testing.Short()))
	cmd.Env = append(os.Environ(), env+"="+fault)
	out, err := cmd.CombinedOutput()
	r := result{out: string(out), err: err, parts: map[string][]string{}}
	for _, line := range partLine.FindAllStringSubmatch(r.out, -1) {
		if part, ok := strings.CutPrefix(line[2], t.Name()+"/"); ok && !strings.Contains(part, "/") {
			r.parts[line[1]] = append(r.parts[line[1]], part)
		}
	}
	return r
}
