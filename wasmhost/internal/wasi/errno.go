package wasi

import "github.com/tetratelabs/wazero/experimental/sys"

// Errno is WASI's own numbering of errors; 0 is success.
type Errno uint16

// The errors that this package gives.
const (
	EACCES       Errno = 2
	EAGAIN       Errno = 6
	EBADF        Errno = 8
	EEXIST       Errno = 20
	EFAULT       Errno = 21
	EILSEQ       Errno = 25
	EINTR        Errno = 27
	EINVAL       Errno = 28
	EIO          Errno = 29
	EISDIR       Errno = 31
	ELOOP        Errno = 32
	EMFILE       Errno = 33
	ENAMETOOLONG Errno = 37
	ENOENT       Errno = 44
	ENOSYS       Errno = 52
	ENOTDIR      Errno = 54
	ENOTEMPTY    Errno = 55
	ENOTSOCK     Errno = 57
	ENOTSUP      Errno = 58
	EPERM        Errno = 63
	ERANGE       Errno = 68
	EROFS        Errno = 69
	ESPIPE       Errno = 70
	EXDEV        Errno = 75
)

// errnoOf translates what a file system says.
func errnoOf(e sys.Errno) Errno {
	switch e {
	case 0:
		return 0
	case sys.EACCES:
		return EACCES
	case sys.EAGAIN:
		return EAGAIN
	case sys.EBADF:
		return EBADF
	case sys.EEXIST:
		return EEXIST
	case sys.EFAULT:
		return EFAULT
	case sys.EINTR:
		return EINTR
	case sys.EINVAL:
		return EINVAL
	case sys.EISDIR:
		return EISDIR
	case sys.ELOOP:
		return ELOOP
	case sys.ENAMETOOLONG:
		return ENAMETOOLONG
	case sys.ENOENT:
		return ENOENT
	case sys.ENOSYS:
		return ENOSYS
	case sys.ENOTDIR:
		return ENOTDIR
	case sys.ENOTEMPTY:
		return ENOTEMPTY
	case sys.ENOTSUP:
		return ENOTSUP
	case sys.EPERM:
		return EPERM
	case sys.ERANGE:
		return ERANGE
	case sys.EROFS:
		return EROFS
	}
	return EIO
}
