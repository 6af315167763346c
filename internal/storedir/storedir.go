// Package storedir owns what every store in a directory needs of the system: the lock that keeps the directory to one
// process, and the sync that makes a rename last. The store owns its files.
package storedir

import (
	"errors"
	"os"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// LockName is the file in the directory that is locked.
const LockName = "lock"

// errInUse is returned by the system's half of Lock when somebody else has the lock.
var errInUse = errors.New("in use")

// Lock takes the lock of the directory root, which lies at path, until the file is closed or the process ends, however it
// ends. what names the store for messages ("session store"). It fails with FAILED_PRECONDITION when the lock is taken, by
// this process or another, or can't be had, and with UNIMPLEMENTED where there are no file locks.
func Lock(root *os.Root, path, what string) (*os.File, error) {
	file, err := lock(root, path)
	switch {
	case errors.Is(err, errInUse):
		return nil, status.Errorf(status.FailedPrecondition, "the %s in %q is in use by another process", what, path)
	case errors.Is(err, errors.ErrUnsupported):
		return nil, status.Errorf(status.Unimplemented, "this platform has no file locks, which a %s in a directory needs", what)
	case err != nil:
		return nil, status.Errorf(status.FailedPrecondition, "lock the %s: %w", what, err)
	}
	return file, nil
}
