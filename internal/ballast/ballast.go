// Package ballast spaces the collections of a program whose heap is small but busy.
//
// Go collects garbage whenever the heap has doubled, and 4 MiB count as the least: a server whose guests keep their
// memory elsewhere has a heap of a few MiB and would collect many times a second under load, beside requests that
// are slower while it does. Memory that nobody touches counts for the heap's size and takes none of the machine's.
package ballast

import "runtime"

// Keep puts so many bytes on the heap, which nothing touches where the program has just started, until the returned function is called. The next
// collection comes after as many bytes of garbage, and the program may hold as much more; GOGC and GOMEMLIMIT
// apply as they did.
func Keep(bytes int) (release func()) {
	b := make([]byte, bytes)
	return func() { runtime.KeepAlive(b) }
}
