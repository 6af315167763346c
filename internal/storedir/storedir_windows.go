package storedir

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

const sharingViolation = syscall.Errno(32)

// lock opens the file without sharing it.
func lock(_ *os.Root, path string) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(filepath.Join(path, LockName))
	if err != nil {
		return nil, err
	}
	handle, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, sharingViolation) {
		return nil, errInUse
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(handle), LockName), nil
}

// Sync does nothing: this system keeps the order of renames by itself and can't sync a directory.
func Sync(*os.Root, string) error { return nil }
