package compile

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

const (
	scratchPrefix = "genkit-wasm-code-"
	// unlockedFor is how old a scratch directory without a lock has to be before it is
	// taken for one that was left: its process locks it at once.
	unlockedFor = time.Hour
)

// unlocked is the lock where there are none.
type unlocked struct{}

func (unlocked) Close() error { return nil }

// sweepScratch removes the scratch directories in dir whose process is gone, however it
// ended. It leaves alone what is not this user's, and what it can't remove.
func sweepScratch(dir string) {
	found, err := filepath.Glob(filepath.Join(dir, scratchPrefix+"*"))
	if err != nil {
		return
	}
	for _, path := range found {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() || !private(info) {
			continue
		}
		if abandoned(path, info) {
			_ = os.RemoveAll(path) // the system removes the rest
		}
	}
}

// abandoned reports whether nobody holds the lock of a scratch directory.
func abandoned(path string, info fs.FileInfo) bool {
	if time.Since(info.ModTime()) < unlockedFor {
		if _, err := os.Lstat(filepath.Join(path, storedir.LockName)); err != nil {
			return false // it may be about to be locked
		}
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return false
	}
	defer root.Close() //nolint:errcheck // it was only looked into
	lock, err := storedir.Lock(root, path, "scratch directory")
	if err != nil {
		return false
	}
	return lock.Close() == nil
}
