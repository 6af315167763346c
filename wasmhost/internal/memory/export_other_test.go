//go:build !linux

package memory

import "testing"

// WithoutSharing has nothing to do here.
func WithoutSharing(*testing.T) {}

// SharingWorks tells that this platform can't tell.
func SharingWorks() bool { return false }
