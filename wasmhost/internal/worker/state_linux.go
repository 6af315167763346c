package worker

import "sync"

// spawner starts workers from one thread, which lives as long as the pool: a worker ends
// with the thread that has started it (PDEATHSIG), and inherits what that thread may not
// do (Landlock).
type spawner struct {
	once     sync.Once
	commands chan func()
	end      chan struct{}
	without  map[string]bool // see [Config]
	missing  []string        // set before the first command runs
	held     []string
	flags    uintptr // of namespaces; belongs to the thread, as told does
	told     bool
}
