package wasmhost

import (
	"log/slog"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// LevelTrace is the level at which a guest's trace lines are logged.
const LevelTrace = slog.LevelDebug - 4

func slogLevel(l sandbox.Level) slog.Level {
	switch l {
	case sandbox.LevelTrace:
		return LevelTrace
	case sandbox.LevelDebug:
		return slog.LevelDebug
	case sandbox.LevelWarn:
		return slog.LevelWarn
	case sandbox.LevelError:
		return slog.LevelError
	}
	return slog.LevelInfo
}
