package moduletest_test

import (
	"testing"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module/moduletest"
)

func TestTheKitAcceptsTheStoreInMemory(t *testing.T) {
	moduletest.Run(t, func(*testing.T) module.Store { return module.NewMemory() })
}

// plain hides the optional parts of a store.
type plain struct{ module.Store }

func TestTheKitAcceptsAStoreWithoutOptionalParts(t *testing.T) {
	moduletest.Run(t, func(*testing.T) module.Store { return plain{module.NewMemory()} })
}
