// Package jsenginetest gives tests the JavaScript engine:
//
//	host, err := wasmhost.New(ctx, wasmhost.Config{JavaScript: jsenginetest.File(t)})
package jsenginetest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/internal/jsengine"
	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

var file = sync.OnceValues(func() ([]byte, error) { return jsengine.Get(context.Background()) }) //nolint:forbidigo // all tests of a process share it

// File returns the engine's file, for the host's Config. Where Go can't download it, the test ends as with
// [peer.Missing]. The bytes must not be changed.
func File(tb testing.TB) []byte {
	tb.Helper()
	engine, err := file()
	if err != nil {
		peer.Missing(tb, "the JavaScript engine can't be had: %v", err)
	}
	return engine
}

// testData is a Go module that carries files of the web platform tests (https://github.com/web-platform-tests/wpt),
// in its folder testdata.
const testData = "github.com/nlnwa/whatwg-url@v0.6.2"

// WebPlatformTests returns a file of the web platform tests: "urltestdata.json", "setters_tests.json" or "toascii.json". It ends
// the test as [File] does where Go can't download it.
func WebPlatformTests(tb testing.TB, name string) []byte {
	tb.Helper()
	dir, err := jsengine.Dir(tb.Context(), testData)
	if err != nil {
		peer.Missing(tb, "the web platform tests can't be had: %v", err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return content
}
