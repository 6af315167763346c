package wasmhost

// Builds returns how many times a module was compiled, not counting code that was there.
func Builds(h *Host) int64 { return h.sandbox.Builds() }
