package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// errorKey is the key in _meta under which a tool's error is, as {"status", "message", "details"?}.
const errorKey = "genkit-wasm/error"

const maxErrorText = 4 << 10

func codeOf(err error) int64 {
	switch status.Of(err) {
	case status.NotFound, status.InvalidArgument, status.OutOfRange:
		return jsonrpc.CodeInvalidParams
	}
	return jsonrpc.CodeInternalError
}

func protocolError(code int64, text string, wire status.Wire) error {
	data, err := json.Marshal(wire)
	if err != nil {
		data = nil
	}
	return &jsonrpc.Error{Code: code, Message: abi.Clean(text, maxErrorText), Data: data}
}

// ended is an error that is not the end of a connection.
func ended(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, sdk.ErrConnectionClosed) || errors.Is(err, context.Canceled) {
		return nil
	}
	return status.Errorf(status.Unavailable, "serve MCP: %w", err)
}
