package meter

import "github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"

// RewriteEach charges every instruction where it stands: slow, and beyond doubt.
func RewriteEach(wasm []byte, m *inspect.Module) (*Result, error) {
	w, err := newRewriter(wasm, m, Options{})
	if err != nil {
		return nil, err
	}
	w.plan.each = true
	return w.rewrite(), nil
}
