package memory

// The types of this file refer to each other; the other files hold their methods.

// Linear is a guest's linear memory. It never grows past its limit. Only the goroutine
// that runs the guest may use it.
type Linear struct {
	buf   []byte
	limit uint64
	grow  func(size uint64) bool
	pages pages  // the platform's own fields
	own   []byte // all of what buf is a part of, when it came from allocate
}
