package mcp

import (
	"encoding/json"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

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
