package middleware

import (
	"errors"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// WatchSend returns a copy of call and a function that reports whether a chunk that
// a reader would notice, one with content or custom data, has been passed on. A hook
// that calls the model again after that would show the reader two beginnings.
func WatchSend(call *ModelCall) (watched *ModelCall, sent func() bool) {
	var noticed atomic.Bool
	c := *call
	if call.Send != nil {
		c.Send = func(chunk *model.Chunk) error {
			if len(chunk.Content) > 0 || len(chunk.Custom) > 0 {
				noticed.Store(true)
			}
			return call.Send(chunk)
		}
	}
	return &c, noticed.Load
}

// ErrFinal is in the chain of an error of a middleware that neither another try nor
// another model will mend, whatever its status.
var ErrFinal = errors.New("trying again is of no use")
