// Package jsenginetest gives tests the JavaScript engine:
//
//	host, err := wasmhost.New(ctx, wasmhost.Config{JavaScript: jsenginetest.File(t)})
package jsenginetest

import (
	"context"
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
