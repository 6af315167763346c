package server

import (
	"context"
	"errors"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

// param returns a segment of the path, decoded.
func param(c echo.Context, name string) string {
	value := c.Param(name)
	if c.Request().URL.RawPath == "" {
		return value // the router has matched the decoded path
	}
	if decoded, err := url.PathUnescape(value); err == nil {
		return decoded
	}
	return value
}

const (
	requestIDHeader = "X-Request-Id"
	requestIDKey    = "genkit-wasm.request-id"
	maxRequestID    = 128
)

func requestID(c echo.Context) string {
	id, _ := c.Get(requestIDKey).(string)
	return id
}

const identityKey = "genkit-wasm.identity"

func identityOf(c echo.Context) *access.Identity {
	identity, _ := c.Get(identityKey).(*access.Identity)
	return identity
}

// identityEnded returns why the identity of a request has ended, nil when it has not.
func identityEnded(c echo.Context) error {
	identity := identityOf(c)
	if identity == nil {
		return nil
	}
	return identity.Life.Err()
}

const logErrorKey = "genkit-wasm.error"

// attemptedKey is set in a request that came with a key or a token.
const attemptedKey = "genkit-wasm.attempted"

// ended tells why a request failed that was cancelled: when the server has cancelled it,
// the context's cause says so, and that is what every caller reads.
func ended(ctx context.Context, err error) error {
	if status.Of(err) != status.Cancelled {
		return err
	}
	if cause, ok := errors.AsType[*status.Error](context.Cause(ctx)); ok {
		return cause
	}
	return err
}
