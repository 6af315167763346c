package main

import (
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
)

// looseKey is the mode that a file with a key must not have: others than its owner and its group may
// do nothing with it, and the group may not write it. The group may read it, because that is how
// Kubernetes (fsGroup), Debian (ssl-cert) and others give a key to a service that does not own it.
const looseKey fs.FileMode = 0o027

// checkKeyFile refuses a file with a key that others may read, or that its group may change. flag is how
// the file was named. A file that can't be looked at is left to the one who reads it, and so is what is
// no file, such as a pipe.
func checkKeyFile(flag, file string) error {
	info, err := os.Stat(file)
	if err != nil || runtime.GOOS == "windows" || !info.Mode().IsRegular() || info.Mode().Perm()&looseKey == 0 {
		return nil //nolint:nilerr // see above
	}
	return &failure{
		exit: exitUsage,
		text: fmt.Sprintf("%s: others may read or change %s, which holds a key: its mode is %04o. Run \"chmod 600 %s\"", flag, file, info.Mode().Perm(), file),
		hint: "if somebody may have read it, make another key",
	}
}

// checkSecretFile is [checkKeyFile] for a --secret, NAME=@FILE.
func checkSecretFile(reference string) error {
	_, from, _ := strings.Cut(reference, "=")
	if file, ok := strings.CutPrefix(from, "@"); ok {
		return checkKeyFile("--secret", file)
	}
	return nil
}
