package moduletest_test

import (
	"testing"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module/moduletest"
)

func TestTheKitAcceptsTheStoreInMemory(t *testing.T) {
	moduletest.Run(t, func(*testing.T) module.Store { return module.NewMemory() })
}
