package share

import (
	"context"
	"sync"
	"time"
)

// Place is a call's slot in its tenant's queue. A call gives it up while it waits. Both
// methods are called by one goroutine at a time.
type Place interface {
	// Leave gives the place up. It does not block. It does nothing if the place is not
	// held.
	Leave()
	// Return waits for a place until ctx ends. It does nothing if the place is held. If
	// it fails, the call must end with its error.
	Return(ctx context.Context) error
}

type placeKey struct{}

// WithPlace returns a context that carries the place to give up while an initialisation
// waits. Calls pass theirs to [Slot.Init].
func WithPlace(ctx context.Context, place Place) context.Context {
	return context.WithValue(ctx, placeKey{}, place)
}

// PlaceOf returns the place that [WithPlace] has put into ctx; nil when there is none.
func PlaceOf(ctx context.Context) Place {
	place, _ := ctx.Value(placeKey{}).(Place)
	return place
}

// Slot manages a call's permission to run: one of its module's slots and its tenant's
// [Place]; see [Run] for processors. The zero value holds nothing. It is safe for
// concurrent use.
type Slot struct {
	slots chan struct{} // the module's; nil: none is held
	place Place         // nil: there is none

	mu    sync.Mutex // guards the fields below
	held  bool
	armed bool        // it is given back when the timer fires
	timer *time.Timer // nil until it is needed
}

// Init makes s, which must be zero, the Slot of a call; slots is the semaphore of its module. It holds nothing yet. place is
// nil where nothing beyond the module bounds its calls.
func (s *Slot) Init(slots chan struct{}, place Place) { s.slots, s.place = slots, place }

// InitialSlot returns the Slot of an initialisation. It has no module slot, and its place is held.
func InitialSlot(place Place) *Slot { return &Slot{place: place, held: true} }

// Counted reports whether s uses a module slot.
func (s *Slot) Counted() bool { return s.slots != nil }

// TryTake takes a module slot without waiting. It must be called before s is shared, with
// the place held.
func (s *Slot) TryTake() bool {
	select {
	case s.slots <- struct{}{}:
		s.held = true
		return true
	default:
		return false
	}
}

// LeavePlace gives the place back before a slot was taken.
func (s *Slot) LeavePlace() {
	if s.place != nil {
		s.place.Leave()
	}
}

// Leave gives back the slot and the place.
func (s *Slot) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveUp()
}

// giveUp gives back the slot and the place; mu is held.
func (s *Slot) giveUp() {
	if !s.held {
		return
	}
	s.held = false
	if s.slots != nil {
		<-s.slots
	}
	if s.place != nil {
		s.place.Leave()
	}
}

// LeaveAfter gives back the slot and the place when Stay is not called within d.
func (s *Slot) LeaveAfter(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = true
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.expire)
	} else {
		s.timer.Reset(d)
	}
}

// expire runs when the timer of LeaveAfter fires. Stay may have come first: then armed is
// false.
func (s *Slot) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.armed {
		s.armed = false
		s.giveUp()
	}
}

// Stay ends LeaveAfter.
func (s *Slot) Stay() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	s.timer.Stop()
}

// Take waits for the module slot and then for the place, until ctx ends. If timer fires
// before the module slot is free, it returns false and no error; a nil timer never fires.
func (s *Slot) Take(ctx context.Context, timer <-chan time.Time) (bool, error) {
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	if held || (s.slots == nil && s.place == nil) {
		return true, nil
	}
	if s.slots != nil {
		select {
		case s.slots <- struct{}{}:
		default:
			select {
			case s.slots <- struct{}{}:
			case <-ctx.Done():
				return false, ContextError(ctx.Err())
			case <-timer:
				return false, nil
			}
		}
	}
	if s.place != nil {
		if err := s.place.Return(ctx); err != nil {
			if s.slots != nil {
				<-s.slots
			}
			return false, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
	return true, nil
}

// Finish releases the module slot at the end of the call. The place is released by the
// caller that provided it. It reports whether nothing will look at s again: a timer of
// LeaveAfter may still do so.
func (s *Slot) Finish() (unused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.held && s.slots != nil {
		<-s.slots
	}
	s.held = false
	return s.timer == nil
}
