//go:build !linux

package main

import "runtime"

// kernelFindings are what the kernel offers to confine worker processes.
func kernelFindings() []finding {
	return []finding{{Name: "Landlock, seccomp", Found: "not on " + runtime.GOOS + "/" + runtime.GOARCH, Fix: "they are Linux's; a server with several tenants belongs there"}}
}
