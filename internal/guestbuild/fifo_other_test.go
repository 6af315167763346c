//go:build !unix

package guestbuild_test

import "testing"

func mkfifo(t *testing.T, _ string) { t.Skip("has no named pipes") }
