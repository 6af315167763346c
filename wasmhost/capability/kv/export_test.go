package kv

import (
	"testing"
	"time"
)

// OpenFS opens a store on a file system of a test.
var OpenFS = openFS

// KeepOpen bounds how many files of a store are open.
func KeepOpen(f *File, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = n
}

// OpenFiles counts the files that are open.
func OpenFiles(t *testing.T, f *File) (n int) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.spaces {
		if s.open.Load() {
			n++
		}
	}
	return n
}

// Spaces counts the namespaces that a store knows.
func Spaces(f *File) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.spaces)
}

// ReadLegacy reads a file of an earlier version: its values by namespace and key.
func ReadLegacy(raw []byte) (map[Namespace]map[string]string, error) {
	spaces, err := readLegacy(raw)
	if err != nil {
		return nil, err
	}
	all := map[Namespace]map[string]string{}
	for ns, payloads := range spaces {
		all[ns] = map[string]string{}
		for _, payload := range payloads {
			for len(payload) > 0 {
				c, rest, _ := decodeChange(payload)
				if !gone(c.expires, time.Now()) {
					all[ns][c.key] = string(c.value)
				}
				payload = rest
			}
		}
	}
	return all, nil
}
