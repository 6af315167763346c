package sandbox

import (
	"runtime"
	"time"
)

// shortSlices is how many slices a call may run before it has to share: most calls
// end within the first.
const shortSlices = 4

// lane keeps guests that run long from crowding out those that don't, and the Go
// scheduler with them. A call runs its first slices at once. From then on it needs one
// of the sandbox's tokens for each slice, of which there is one fewer than processors
// (at least one), and hands it on after the slice: calls that wait for one are served
// in turn. It belongs to the goroutine that runs the guest.
type lane struct {
	tokens chan struct{}
	slices int
	held   bool
}

// next is called between two slices. It blocks until the call may go on, and ends the
// guest when its deadline comes or its caller leaves meanwhile.
func (l *lane) next(st *state) {
	if l.slices++; l.slices <= shortSlices || l.tokens == nil {
		runtime.Gosched()
		return
	}
	l.leave()
	select {
	case l.tokens <- struct{}{}:
		l.held = true
		return
	default:
	}
	timer := time.NewTimer(time.Until(st.deadline))
	defer timer.Stop()
	select {
	case l.tokens <- struct{}{}:
		l.held = true
	case <-timer.C:
	case <-st.ctx.Done():
	}
	st.check()
}

// leave hands the token on: the call has ended, or waits for something.
func (l *lane) leave() {
	if l.held {
		l.held = false
		<-l.tokens
	}
}
