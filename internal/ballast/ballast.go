// Package ballast spaces the collections of a program whose heap is small but busy.
//
// Go collects garbage whenever the heap has doubled, and 4 MiB count as the least: a server whose guests keep their
// memory elsewhere has a heap of a few MiB and would collect many times a second under load, beside requests that
// are slower while it does. Memory that nobody touches counts for the heap's size and takes none of the machine's.
package ballast

import "runtime"

// piece is how much is allocated at a time: memory that the program has used before is cleared, and so touched, and
// a piece that begins in such memory is cleared as a whole.
const piece = 256 << 10

// Keep puts so many bytes on the heap, which nothing touches, until the returned function is called. The next
// collection comes after as many bytes of garbage, and the program may hold as much more; GOGC and GOMEMLIMIT
// apply as they did.
func Keep(bytes int) (release func()) {
	pieces := make([][]byte, 0, bytes/piece+1)
	for ; bytes > 0; bytes -= piece {
		pieces = append(pieces, make([]byte, min(bytes, piece)))
	}
	return func() { runtime.KeepAlive(pieces) }
}
