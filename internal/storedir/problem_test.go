package storedir_test

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

func TestWhatTheSystemLacksHasASentence(t *testing.T) {
	for err, want := range map[error]struct {
		code status.Code
		says string
	}{
		syscall.ENOSPC:       {status.ResourceExhausted, "disk is full"},
		syscall.EDQUOT:       {status.ResourceExhausted, "disk is full"},
		syscall.EROFS:        {status.Unavailable, "may not write"},
		syscall.EACCES:       {status.Unavailable, "may not write"},
		syscall.EMFILE:       {status.Unavailable, "no file descriptors"},
		syscall.ENFILE:       {status.Unavailable, "no file descriptors"},
		syscall.ENOMEM:       {status.ResourceExhausted, "no memory"},
		errors.New("broken"): {status.Internal, ""},
	} {
		wrapped := fmt.Errorf("deep: %w", &fs.PathError{Op: "open", Path: "/secret/place", Err: err})
		got := status.Convert(storedir.Problem("store the module", wrapped))
		assert.Equal(t, want.code, got.Code, err)
		assert.Equal(t, want.says != "", got.Public(), err)
		assert.ErrorIs(t, got, err)
		if want.says != "" {
			assert.Contains(t, got.Message, "store the module: ")
			assert.Contains(t, got.Message, want.says)
			assert.NotContains(t, got.Message, "secret")
		}
	}
	known := status.Publicf(status.NotFound, "no such module")
	assert.ErrorIs(t, storedir.Problem("x", known), known)
}
