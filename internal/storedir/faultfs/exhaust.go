package faultfs

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// Case is a store and the work that it is to do.
type Case[S any] struct {
	Open  func(fsys storedir.FS) (S, error)
	Close func(s S) error
	// Steps are done one after the other.
	Steps []Step[S]
	// State is all stored content, as a reader gets it. The value of an entry that
	// can't be read is [Failed] of its error.
	State func(s S) map[string]string
	// Uncertain says that a change which failed may turn up when the store is opened again,
	// although the store, whose disk still fails, has told that it is not there.
	Uncertain bool
	// Exact says that a change which failed, on a disk that is well again, is not there.
	Exact bool
	// Stride has only each so-manyth bit of a file flipped, where files are long; 0 and 1
	// are each byte.
	Stride int
}

// Step is one change.
type Step[S any] struct {
	Name string
	Do   func(s S) error
	// Model does the same to the expected state.
	Model func(state map[string]string)
}

const failedPrefix = "failed: "

// Failed stands in a state for a value that can't be read.
func Failed(err error) string { return failedPrefix + status.Of(err).String() }

func readable(state map[string]string) bool {
	for _, v := range state {
		if strings.HasPrefix(v, failedPrefix) {
			return false
		}
	}
	return true
}

// lefts are the power cuts that are tried at a point of a run; what is left of the last one
// is another in each.
func (r *runner[S]) lefts() []Left { return []Left{Nothing, Everything, Left(2 + r.cuts)} }

// Exhaust does the work again and again: with a power cut after each step; with each
// operation on the disk the last one; with each failing, once and for good. It wants that
//
//   - what was acknowledged is there after a power cut,
//   - what was not is there whole or not at all,
//   - what the store has told since a failure is not gone after a power cut, nor when it is
//     opened anew, and
//   - it goes on when the disk is well again.
func Exhaust[S any](t testing.TB, c Case[S]) {
	t.Helper()
	r := &runner[S]{Case: c, t: t}
	r.run("no fault", Fault{}, true)
	total := r.ops
	if total < 2*len(c.Steps) {
		t.Fatalf("%d operations on the disk for %d steps: the store does not use it", total, len(c.Steps))
	}
	for at := 1; at <= total && !t.Failed(); at++ {
		for _, after := range []bool{false, true} {
			r.run("crash", Fault{At: at, Err: ErrCrashed, After: after}, false)
			r.run("error", Fault{At: at, Err: syscall.EIO, After: after}, false)
			r.run("full", Fault{At: at, Err: syscall.ENOSPC, After: after, Sticky: true}, false)
		}
	}
	t.Logf("%d operations on the disk, %d runs, %d power cuts", total, r.runs, r.cuts)
}

type runner[S any] struct {
	Case[S]
	t    testing.TB
	ops  int
	runs int
	cuts int
}

// attempt is one run of the work.
type attempt[S any] struct {
	*runner[S]
	what string
	disk *Disk
	// allowed are the states that a power cut may leave.
	allowed []map[string]string
	// live is the state that the store has told last; nil when it could not.
	live map[string]string
}

func (r *runner[S]) run(what string, f Fault, everyStep bool) {
	r.t.Helper()
	if r.t.Failed() {
		return
	}
	r.runs++
	a := &attempt[S]{runner: r, disk: New(uint64(f.At)), allowed: []map[string]string{{}}} //nolint:gosec // small
	a.disk.Inject(f)
	a.what = fmt.Sprintf("%s at %d (after: %v)", what, f.At, f.After)
	s, err := a.Open(a.disk.FS())
	if err != nil {
		a.reopened("opening failed: " + err.Error())
		return
	}
	cut := false
	for _, step := range a.Steps {
		a.step(s, step, f)
		if everyStep || !cut && a.disk.Ops() >= f.At {
			cut = true
			a.cut("after "+step.Name, a.lefts()...)
		}
		if errors.Is(f.Err, ErrCrashed) && a.disk.Ops() >= f.At {
			break
		}
	}
	a.ends(s, f)
}

// step does a step and keeps book of what may be stored now.
func (a *attempt[S]) step(s S, step Step[S], f Fault) {
	a.t.Helper()
	err := step.Do(s)
	before := a.allowed
	next := make([]map[string]string, 0, 2*len(before))
	for _, state := range before {
		state = maps.Clone(state)
		step.Model(state)
		next = append(next, state)
	}
	if err != nil {
		next = append(next, a.allowed...)
	}
	a.allowed = distinct(next)
	if a.disk.Ops() < f.At {
		return // the runs before this one have looked
	}
	var state map[string]string
	a.disk.Quietly(func() { state = a.State(s) })
	if !readable(state) {
		a.live = nil
		return
	}
	if !contains(a.allowed, state) {
		a.t.Fatalf("%s: after %q (%v) [%s] the store tells\n%v, want one of\n%v", a.what, step.Name, err, a.disk.Last(), state, a.allowed)
	}
	if err != nil && a.Exact && !f.Sticky && !contains(before, state) {
		a.t.Fatalf("%s: %q failed (%v), and yet the store tells\n%v, want one of\n%v", a.what, step.Name, err, state, before)
	}
	if err != nil && a.Uncertain {
		a.live = nil
		return
	}
	// A state that was told must not be gone later.
	a.live, a.allowed = state, []map[string]string{state}
}

// ends closes the store in the one way or the other, and opens it anew.
func (a *attempt[S]) ends(s S, f Fault) {
	a.t.Helper()
	stopped := errors.Is(f.Err, ErrCrashed)
	if !stopped {
		a.disk.Inject(Fault{})
		a.heals(s)
	}
	if !stopped { // then it was cut already
		a.cut("at the end", a.lefts()...)
	}
	if err := a.Close(s); err != nil && f.At == 0 {
		a.t.Fatalf("%s: close: %v", a.what, err)
	}
	if f.At == 0 {
		a.ops = a.disk.Ops()
	}
	a.reopened("closed")
}

// heals wants the last step to work again, now that the disk is well.
func (a *attempt[S]) heals(s S) {
	a.t.Helper()
	last := a.Steps[len(a.Steps)-1]
	if err := last.Do(s); err != nil {
		a.t.Fatalf("%s: the disk is well, and %q still fails: %v", a.what, last.Name, err)
	}
	state := a.State(s)
	for i := range a.allowed {
		a.allowed[i] = maps.Clone(a.allowed[i])
		last.Model(a.allowed[i])
	}
	if !contains(a.allowed, state) {
		a.t.Fatalf("%s: the disk is well, and the store tells\n%v, want one of\n%v", a.what, state, a.allowed)
	}
	a.live, a.allowed = state, []map[string]string{state}
}

// reopened opens the disk in another process.
func (a *attempt[S]) reopened(how string) {
	a.t.Helper()
	a.disk.Restart()
	want := a.allowed
	if a.live != nil {
		want = []map[string]string{a.live}
	}
	a.allowed = []map[string]string{a.check(a.disk, want, how+" and opened anew")}
	a.cut(how+" and opened anew", Nothing)
	s, err := a.Open(a.disk.FS())
	if err != nil {
		a.t.Fatalf("%s: %s: open once more: %v", a.what, how, err)
	}
	a.live = nil
	a.heals(s)
	a.cut(how+", opened anew and changed", a.lefts()...)
	if err := a.Close(s); err != nil {
		a.t.Fatalf("%s: %s: close: %v", a.what, how, err)
	}
}

// cut cuts the power in several ways.
func (a *attempt[S]) cut(when string, lefts ...Left) {
	a.t.Helper()
	for _, left := range lefts {
		a.cuts++
		after := a.disk.Cut(left)
		state := a.check(after, a.allowed, fmt.Sprintf("power cut %d %s", left, when))
		// A state that was read after one power cut has to survive the next.
		a.check(after.Cut(Nothing), []map[string]string{state}, fmt.Sprintf("power cut %d %s, and a second one", left, when))
	}
}

func (a *attempt[S]) check(disk *Disk, want []map[string]string, when string) map[string]string {
	a.t.Helper()
	s, err := a.Open(disk.FS())
	if err != nil {
		a.t.Fatalf("%s [%s]: %s: open: %v", a.what, a.disk.Last(), when, err)
	}
	state := a.State(s)
	if !contains(want, state) {
		a.t.Fatalf("%s [%s]: %s: the store tells\n%v, want one of\n%v", a.what, a.disk.Last(), when, state, want)
	}
	if err := a.Close(s); err != nil {
		a.t.Fatalf("%s: %s: close: %v", a.what, when, err)
	}
	return state
}

func contains(all []map[string]string, state map[string]string) bool {
	for _, s := range all {
		if maps.Equal(s, state) {
			return true
		}
	}
	return false
}

func distinct(all []map[string]string) []map[string]string {
	var out []map[string]string
	for _, s := range all {
		if !contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// Flips does the work, flips one bit after the other of each file, and wants each value as
// it was, or DATA_LOSS; and the same of opening the store.
func Flips[S any](t testing.TB, c Case[S]) {
	t.Helper()
	a := &attempt[S]{runner: &runner[S]{Case: c, t: t}, what: "no fault", disk: New(1), allowed: []map[string]string{{}}}
	s, err := c.Open(a.disk.FS())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range c.Steps {
		a.step(s, step, Fault{})
	}
	if err := c.Close(s); err != nil {
		t.Fatal(err)
	}
	want, flips, lost := a.allowed[0], 0, 0
	for _, name := range a.disk.Files() {
		for at := 0; at < a.disk.Size(name); at += max(1, c.Stride) {
			for bit := range 8 {
				if c.Stride > 1 && bit != at%8 {
					continue
				}
				disk := a.disk.Cut(Everything)
				disk.Edit(name, func(b []byte) []byte { b[at] ^= 1 << bit; return b })
				flips++
				if a.flipped(disk, want, fmt.Sprintf("bit %d of byte %d of %s", bit, at, name)) {
					lost++
				}
			}
		}
		for _, size := range []int{0, 1, a.disk.Size(name) / 2, a.disk.Size(name) - 1} {
			disk := a.disk.Cut(Everything)
			disk.Edit(name, func(b []byte) []byte { return b[:min(max(0, size), len(b))] })
			flips++
			if a.flipped(disk, want, fmt.Sprintf("%s cut to %d bytes", name, size)) {
				lost++
			}
		}
	}
	t.Logf("%d kinds of damage, of which %d were told", flips, lost)
	if lost == 0 {
		t.Fatal("no damage was ever told")
	}
}

// flipped reports whether damage was told.
func (a *attempt[S]) flipped(disk *Disk, want map[string]string, how string) (told bool) {
	a.t.Helper()
	s, err := a.Open(disk.FS())
	if err != nil {
		if !errors.Is(err, status.ErrDataLoss) {
			a.t.Fatalf("%s: open: %v, want DATA_LOSS", how, err)
		}
		return true
	}
	defer func() { _ = a.Close(s) }()
	state := a.State(s)
	for key := range state {
		if _, ok := want[key]; !ok && state[key] != failedPrefix+status.DataLoss.String() {
			a.t.Fatalf("%s: %q appears: %s", how, key, state[key])
		}
	}
	for key, value := range want {
		switch got, ok := state[key]; {
		case ok && got == value:
		case ok && got == failedPrefix+status.DataLoss.String():
			told = true
		default:
			a.t.Fatalf("%s: %q is %q, want %q or DATA_LOSS", how, key, got, value)
		}
	}
	return told
}
