//go:build !wasip1

package host

// Fake is the host of a native build. The zero value has no input and takes
// everything.
type Fake struct {
	In, Out, Err []byte
	OutSet       bool
	OnLog        func(level int32, line []byte)
	OnEmit       func(request []byte) (reply []byte)
	OnInterrupt  func(request []byte) (reply []byte)
	OnContext    func() (reply []byte)
}

var current = new(Fake)

// Use makes f the host of the calls that follow and returns the one before it.
func Use(f *Fake) *Fake {
	old := current
	current = f
	return old
}

// Input copies the call's whole input into a new slice.
func Input() []byte { return append([]byte{}, current.In...) }

// Output sets the call's output.
func Output(b []byte) { current.Out, current.OutSet = append([]byte{}, b...), true }

// Error sets the call's error.
func Error(b []byte) { current.Err = append([]byte{}, b...) }

// Log writes one line to the host's log.
func Log(level int32, b []byte) {
	if current.OnLog != nil {
		current.OnLog(level, b)
	}
}

// Emit is the capability "emit".
func Emit(request []byte) []byte {
	if current.OnEmit != nil {
		return current.OnEmit(request)
	}
	return []byte(`{"ok":null}`)
}

// Interrupt is the capability "interrupt".
func Interrupt(request []byte) []byte {
	if current.OnInterrupt != nil {
		return current.OnInterrupt(request)
	}
	return []byte(`{"ok":null}`)
}

// Context is the capability "context".
func Context() []byte {
	if current.OnContext != nil {
		return current.OnContext()
	}
	return []byte(`{"ok":{}}`)
}
