package memory

import "testing"

// WithoutSharing makes memories ordinary slices for one test, as on platforms that
// can't tell which pages were written to.
func WithoutSharing(t *testing.T) {
	t.Helper()
	was := scanWorks
	scanWorks = func() bool { return false }
	t.Cleanup(func() { scanWorks = was })
}

// FaultsTold tells whether this kernel counts the faults that make copies.
func FaultsTold() bool { return faultsTold() }

// SharingWorks tells whether this kernel can tell.
func SharingWorks() bool { return scanWorks() }
