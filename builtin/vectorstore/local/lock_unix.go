//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package local

import (
	"errors"
	"os"
	"syscall"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// lockFile takes the store's lock, which the system gives free when the process
// ends, however it ends.
func lockFile(root *os.Root, path string) (*os.File, error) {
	file, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, status.Errorf(status.FailedPrecondition, "lock vector store: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return file, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = status.Errorf(status.FailedPrecondition, "the vector store in %q is in use", path)
	} else {
		err = status.Errorf(status.FailedPrecondition, "lock vector store: %w", err)
	}
	return nil, errors.Join(err, file.Close())
}

// syncDir writes the directory's entries to the disk.
func syncDir(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
