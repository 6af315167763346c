package sandbox

import "syscall"

// threadID is the number of the thread that the caller runs on.
func threadID() int64 { return int64(syscall.Gettid()) }
