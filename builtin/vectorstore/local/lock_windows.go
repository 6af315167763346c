package local

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const sharingViolation = syscall.Errno(32)

// lockFile opens the store's lock without sharing it, which the system gives free
// when the process ends, however it ends.
func lockFile(_ *os.Root, path string) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(filepath.Join(path, lockName))
	if err != nil {
		return nil, status.Errorf(status.FailedPrecondition, "lock vector store: %w", err)
	}
	handle, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, sharingViolation) {
		return nil, status.Errorf(status.FailedPrecondition, "the vector store in %q is in use", path)
	}
	if err != nil {
		return nil, status.Errorf(status.FailedPrecondition, "lock vector store: %w", err)
	}
	return os.NewFile(uintptr(handle), lockName), nil
}

// syncDir does nothing: this system keeps the order of renames by itself and can't
// sync a directory.
func syncDir(*os.Root) error { return nil }
