//go:build !linux

package worker

type spawner struct {
	end           chan struct{}
	without       map[string]bool
	missing, held []string
}
