//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package storedir

import (
	"errors"
	"os"
	"syscall"
)

func lock(root *os.Root, _ string) (*os.File, error) {
	file, err := root.OpenFile(LockName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		return file, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errInUse
	}
	return nil, errors.Join(err, file.Close())
}

// Sync writes the entries of a directory inside root to the disk.
func Sync(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
