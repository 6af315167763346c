package sandbox

import (
	"time"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// A guest that waits for something other than a processor (a timer, a server, a store, a
// model, another guest, a reader) holds nothing meanwhile that others need: it gives its
// token, its tenant's, its module's slot and its place back, keeps its
// memory, which stays counted, and queues for all of them when it goes on. Host functions
// that may block run under [instance.wait], those that seldom do under [instance.brief].
//
// Nobody blocks for a module's slot while having a place, and nobody blocks for anything
// of a call further in, so that calls can't wait for each other for ever.

// waitGrace is how long a host function that seldom blocks may take before the guest
// counts as one that waits.
const waitGrace = time.Millisecond

// wait runs work, which may block for long, while the guest holds nothing that others
// need. It returns when the guest may go on, and ends the guest when its deadline has
// come, its caller has left or the sandbox closes. The time for which the guest queues
// afterwards does not count as its own.
func (in *instance) wait(work func()) {
	st := in.state
	st.Blocks()
	st.leave()
	began := time.Now()
	st.slot.Leave()
	work()
	in.mustGoOn(began)
}

// brief is [instance.wait] for work that seldom blocks: what the guest holds beside
// tokens is given back only when work takes longer than [waitGrace].
func (in *instance) brief(work func()) {
	st := in.state
	st.leave()
	began := time.Now()
	st.slot.LeaveAfter(waitGrace)
	work()
	st.slot.Stay()
	in.mustGoOn(began)
}

// prepare is [instance.brief] before a guest runs, for what may have to be compiled
// first. An initialisation that has no slot of a module's keeps what it has: what it waits
// for is its own work.
func (in *instance) prepare(work func() error) error {
	slot := in.state.slot
	if !slot.Counted() {
		return work()
	}
	began := time.Now()
	slot.LeaveAfter(waitGrace)
	err := work()
	slot.Stay()
	if err != nil {
		return err
	}
	defer in.state.rest() // nothing runs yet
	return in.goOn(began)
}

// mustGoOn is goOn for a guest that is running: it ends the guest where goOn fails.
func (in *instance) mustGoOn(began time.Time) {
	if err := in.goOn(began); err != nil {
		panic(&stop{err})
	}
}

// goOn takes back what a guest gave up when it began to wait: slot and place, then the tenant's token, then a
// processor's. The wait for slot and place is added to the deadline, the one for tokens is not.
func (in *instance) goOn(began time.Time) error {
	st := in.state
	ready := time.Now()
	if err := st.Over(ready); err != nil {
		return err
	}
	if _, err := st.slot.Take(st.ctx, nil); err != nil {
		return err
	}
	st.deadline = st.deadline.Add(time.Since(ready))
	st.run.Resume(began)
	if st.run.Long() {
		if err := st.acquire(in.module.account); err != nil {
			return err
		}
		if err := st.run.Wait(st); err != nil {
			return err
		}
	}
	now := time.Now()
	if err := st.Over(now); err != nil {
		return err
	}
	st.beat(now)
	return nil
}

// acquire waits for the token of the tenant's account; there may be none.
func (st *state) acquire(a *share.Account) error {
	if a == nil {
		return nil
	}
	if err := a.Acquire(st); err != nil {
		return err
	}
	st.token, st.slices = a, 0
	return nil
}

// leave gives the processor's and the tenant's token to others. It is called before the call waits, and when
// it has ended.
func (st *state) leave() {
	st.rest()
	st.watch.Drop()
	st.run.Leave()
	if st.token != nil {
		st.token.Release()
		st.token = nil
	}
}
