package wasmhost

import (
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// UploadLimits bound the parts of an uploaded module; fields that are 0 take their
// defaults.
type UploadLimits = inspect.Limits

func sandboxLimits(l policy.Limits) sandbox.Limits {
	return sandbox.Limits{
		Timeout: l.Timeout(), Fuel: l.Fuel, MemoryBytes: l.MemoryBytes, TableElements: uint32(l.TableElements),
		InputBytes: int(l.InputBytes), OutputBytes: int(l.OutputBytes), Concurrency: int(l.Concurrency),
	}
}
