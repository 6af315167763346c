package storedir

import (
	"errors"
	"io/fs"
	"syscall"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Problem makes an error of one that the system gave while something was done, such as
// "store the module". Conditions that an operator has to fix have a sentence of their
// own, which any caller may read; it names no path:
//
//   - a full disk, a quota that is used up, or a file of the size that the system allows:
//     RESOURCE_EXHAUSTED;
//   - a directory that can't be written to, or a file system that is read-only: UNAVAILABLE;
//   - no file descriptors left: UNAVAILABLE, to be tried again;
//   - no memory left: RESOURCE_EXHAUSTED.
//
// Everything else is INTERNAL, and its text stays in the process. A *status.Error is
// returned as it is.
func Problem(doing string, err error) error {
	if e, ok := errors.AsType[*status.Error](err); ok {
		return e
	}
	is := func(kinds ...error) bool {
		for _, k := range kinds {
			if errors.Is(err, k) {
				return true
			}
		}
		return false
	}
	switch {
	case is(syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG):
		return status.Publicf(status.ResourceExhausted, "%s: the server's disk is full", doing).WithCause(err)
	case is(syscall.EROFS, syscall.EACCES, syscall.EPERM, fs.ErrPermission):
		return status.Publicf(status.Unavailable, "%s: the server may not write where it has to"+ForOperator, doing).WithCause(err)
	case is(syscall.EMFILE, syscall.ENFILE):
		return status.Publicf(status.Unavailable, "%s: the server has no file descriptors left", doing).WithRetryAfter(time.Second).WithCause(err)
	case is(syscall.ENOMEM):
		return status.Publicf(status.ResourceExhausted, "%s: the server has no memory left", doing).WithCause(err)
	}
	return status.Errorf(status.Internal, "%s: %w", doing, err)
}

// ForOperator ends the text of a [Problem] whose place callers may not learn.
const ForOperator = "; its operator finds the place in its log"

// Exhausted reports whether the system lacked something for a moment, so that an error says
// nothing of what is stored.
func Exhausted(err error) bool {
	for _, kind := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
