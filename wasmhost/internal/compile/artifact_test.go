package compile

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// reread reads an artifact of a cache or a compiling process, and writes it again.
func reread(raw []byte) ([]byte, error) {
	a, err := readArtifact(bytes.NewReader(raw), "e", "x")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = a.write(&b, "e", "x")
	return b.Bytes(), err
}

// The answer of a compiling process may be any bytes.
func FuzzReadArtifact(f *testing.F) {
	header := `{"entry":"e","engine":"x","fuel":"f","globals":[],"nativeName":"` + strings.Repeat("ab", 32) + `","wasmBytes":4,"nativeBytes":2}`
	whole := append(append([]byte{0, 0, 0, byte(len(header))}, header...), "wasmno"...)
	f.Add(whole)
	f.Add(whole[:20])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add(append([]byte{0, 0, 0, 36}, `{"failure":{"code":3,"public":true}}`...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, err := reread(raw)
		if err != nil {
			return
		}
		again, err := reread(out)
		require.NoError(t, err)
		require.Equal(t, out, again)
	})
}
