//go:build !unix

package compile

import "io/fs"

// private can't be told here: the directory's own protection has to do.
func private(fs.FileInfo) bool { return true }
