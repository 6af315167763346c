package worker

import (
	"os"
	"runtime"
	"strings"
	"time"
	"unsafe"
)

// misbehaving does what a guest could do that has escaped from the sandbox. It runs in
// the worker, before a call, and is chosen by the call's input.
func misbehaving(_ string, input []byte) []byte {
	switch string(input) {
	case `"spin"`: // stops all of Go at the next collection
		runtime.LockOSThread()
		go func() {
			for {
				runtime.GC()
				time.Sleep(time.Millisecond) // in a worker that is to misbehave
			}
		}()
		spin()
	case `"fault"`:
		nowhere := uintptr(8)
		*(**int)(unsafe.Pointer(&nowhere)) = nil
		**(**int)(unsafe.Pointer(&nowhere)) = 1
	case `"memory"`:
		var kept [][]byte
		for {
			b := make([]byte, 64<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b) //nolint:staticcheck // kept so that it is not collected
		}
	case `"stack"`:
		deeper(1)
	case `"killed"`: // by the test: a worker can't
		time.Sleep(time.Hour) // until it is killed
	case `"late"`:
		late()
	case `"exit"`:
		os.Exit(0)
	}
	if probing != nil {
		return probing(input)
	}
	return nil
}

// onlyFlag is an argument of workers that are confined by nothing but one mechanism.
const onlyFlag = "-confined-by-nothing-but="

// leftOut names the mechanisms that do not confine a worker of such a test.
func leftOut(mechanism string) bool {
	for _, arg := range os.Args[1:] {
		if only, ok := strings.CutPrefix(arg, onlyFlag); ok {
			return mechanism != only
		}
	}
	return false
}

// late is waitForOthers; nil where threads are not looked at.
var late func()

// probing tries what a worker may not do; nil where there are no such tests.
var probing func(input []byte) []byte

// spin never comes back and can't be interrupted, as compiled code that lacks its checks.
//
//go:nosplit
func spin() {
	for x := 0; ; {
		x++
	}
}

//go:noinline
func deeper(n int) int {
	var pad [1 << 10]byte
	pad[n%len(pad)] = 1
	return deeper(n+1) + int(pad[0]) //nolint:staticcheck // it is to overflow the stack
}
