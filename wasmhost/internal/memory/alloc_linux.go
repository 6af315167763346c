package memory

import "golang.org/x/sys/unix"

// allocate returns zeroed memory outside of Go's heap, of which only what is touched
// takes room; nil when the system gives none.
func allocate(size uint64) []byte {
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil
	}
	return b
}

// unallocate gives back all of what allocate returned.
func unallocate(b []byte) { _ = unix.Munmap(b) } // it is ours
