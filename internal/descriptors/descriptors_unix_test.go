//go:build unix

package descriptors_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/descriptors"
)

func TestLimitIsWhatTheSystemAllows(t *testing.T) {
	var was syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
	defer func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was)) }()
	lower := was
	lower.Cur = 123
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lower))
	assert.EqualValues(t, 123, descriptors.Limit())
}
