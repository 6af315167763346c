package wasmhost

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// marshal encodes the input of a guest, or an answer to it.
func marshal(value any) (json.RawMessage, error) {
	raw, err := rawjson.Encode(value)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the input of a guest: %w", err)
	}
	return raw, nil
}

// parse decodes JSON of a guest; INVALID_ARGUMENT when it does not fit v.
func parse(raw []byte, v any) error {
	if err := schema.CheckUnique(raw); err != nil {
		return status.Publicf(status.InvalidArgument, "not what was asked for: %w", err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return status.Publicf(status.InvalidArgument, "not of the form that was asked for").WithCause(err)
	}
	return nil
}
