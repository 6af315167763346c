package wire_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// events returns the data of all events of a stream.
func events(stream []byte, maxBytes int) ([]string, error) {
	e := wire.NewEvents(bytes.NewReader(stream), maxBytes)
	var all []string
	for {
		ev, err := e.Next()
		if ev.Data != nil {
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

func TestEventsAreSplitAsTheStandardSays(t *testing.T) {
	cases := []struct {
		name, in string
		want     []string
	}{
		{"LF", "data: a\ndata: b\n\ndata: c\n\n", []string{"a\nb", "c"}},
		{"CRLF ends one line, not two", "data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", []string{"a\nb", "c"}},
		{"CR", "data: a\rdata: b\r\rdata: c\r\r", []string{"a\nb", "c"}},
		{"a byte order mark before data", "\uFEFFdata: a\n\n", []string{"a"}},
		{"one space goes", "data:  a\n\ndata:b\n\n", []string{" a", "b"}},
		{"a colon in the value stays", "data: a:b\n\n", []string{"a:b"}},
		{"names are exact", "Data: a\ndatas: b\n data: c\n\n", nil},
		{"events without data are none", "event: x\n\n\n\n: c\n\n", nil},
		{"an event that the end cuts off", "data: a\n\ndata: b", []string{"a", "b"}},
	}
	for _, tc := range cases {
		got, err := events([]byte(tc.in), 1<<10)
		require.NoError(t, err, tc.name)
		assert.Equal(t, tc.want, got, tc.name)
	}
}

func FuzzEvents(f *testing.F) {
	for _, s := range []string{"data: {}\n\ndata: [DONE]\n\n", "data: a\r\n\r\ndata: b\r\rdata: c", ":x\n\ndata\n\n", "\uFEFFdata:x\n\n", "data:1\ndata:2\n\n", "{\n\n}", "data: a\n\n [1]\r\n", "event: error\nerror:x\n\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 10
		all, err := events(in, limit)
		if err != nil {
			require.ErrorIs(t, err, status.ErrResourceExhausted)
		}
		total := 0
		for _, event := range all {
			require.LessOrEqual(t, len(event), limit+1)
			require.NotContains(t, event, "\r")
			total += len(event)
		}
		require.LessOrEqual(t, total, len(in))
		if err == nil { // the way lines end makes no difference
			lf := bytes.ReplaceAll(bytes.ReplaceAll(in, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
			again, err := events(lf, limit)
			require.NoError(t, err)
			require.Equal(t, again, all)
		}
	})
}
