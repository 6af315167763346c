// Package enginetest is the kits that hold models, middleware and formats to their
// contracts, ours and those of others, and what tests of the engine share: it finds the
// specifications and compares JSON by the text of its numbers.
//
// It is never imported by code that ships. Use, in a test of one's own:
//
//	enginetest.TestModel(t, m, enginetest.ModelConfig{})
//	enginetest.TestMiddleware(t, factory, enginetest.MiddlewareConfig{Valid: json.RawMessage(`{"n":1}`)})
//	enginetest.TestFormat(t, csv, enginetest.FormatCase{Text: "a,b", Want: `["a","b"]`})
package enginetest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

// Spec returns the path of a specification file, such as "genkit/generate.yaml",
// below $GENKIT_SPECS or, without it, ../shared/specs as seen from the root of the
// repository. It skips the test, with the reason, when the file is absent.
func Spec(t testing.TB, name string) string {
	t.Helper()
	path, ok := FindSpec(name)
	if !ok {
		peer.Missing(t, "specification %s is absent: set GENKIT_SPECS to the folder that holds it", name)
	}
	return path
}

// FindSpec is [Spec] for what checks more when the file is there.
func FindSpec(name string) (path string, ok bool) {
	dir := os.Getenv("GENKIT_SPECS")
	if dir == "" {
		_, here, _, ok := runtime.Caller(0)
		if !ok {
			return "", false
		}
		dir = filepath.Join(filepath.Dir(here), "..", "..", "..", "shared", "specs")
	}
	path = filepath.Join(dir, filepath.FromSlash(name))
	_, err := os.Stat(path)
	return path, err == nil
}

// SameJSON reports whether two documents are equal as JSON, numbers by their text.
func SameJSON(a, b []byte) bool {
	x, errX := decode(a)
	y, errY := decode(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

func decode(raw []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}
