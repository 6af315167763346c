package wire_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func lines(r io.Reader, maxBytes int) ([]string, error) {
	l := wire.NewLines(r, maxBytes)
	var all []string
	for {
		ev, err := l.Next()
		if len(ev.Data) > 0 {
			all = append(all, string(ev.Data))
		}
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

func TestLinesAreSplit(t *testing.T) {
	long := strings.Repeat("x", 5000) // longer than the reader's buffer
	for in, want := range map[string][]string{
		"":                         nil,
		"\n\r\n \n":                nil,
		"{}\n{\"a\":1}\n":          {"{}", `{"a":1}`},
		"{}\r\n\r\n[]":             {"{}", "[]"},
		long + "\n" + long:         {long, long},
		"  {} \n\n\n" + long + "y": {"{}", long + "y"},
	} {
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
			got, err := lines(r, 6000)
			require.NoError(t, err)
			assert.Equal(t, want, got, in)
		}
	}
	_, err := lines(strings.NewReader(long+long), 6000)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	_, err = lines(iotest.ErrReader(io.ErrClosedPipe), 6000)
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("{}\n{}\n"))
	f.Add([]byte("\r\n\n x"))
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 64
		all, err := lines(bytes.NewReader(in), limit)
		if err != nil {
			require.ErrorIs(t, err, status.ErrResourceExhausted)
		}
		again, _ := lines(iotest.OneByteReader(bytes.NewReader(in)), limit)
		require.Equal(t, all, again)
		for _, line := range all {
			require.LessOrEqual(t, len(line), limit)
			require.NotContains(t, line, "\n")
		}
	})
}
