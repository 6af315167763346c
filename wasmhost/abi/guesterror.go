package abi

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Bounds of a guest's error.
const (
	MaxErrorBytes        = 64 << 10
	maxErrorMessageBytes = 4 << 10
	maxErrorDetailBytes  = 16 << 10
)

// mended returns an error that was cut in the middle of its message as JSON again, so that its
// code is not lost with its end; raw itself when it can't be.
func mended(raw []byte) []byte {
	if schema.Check(raw) == nil {
		return raw
	}
	const longest = len(`\ud83d\ude00`) // the longest text that is one character
	for cut := range min(longest, len(raw)) {
		if whole := append(slices.Clone(raw[:len(raw)-cut]), `"}`...); schema.Check(whole) == nil {
			return whole
		}
	}
	return raw
}

// GuestError turns the error that a guest set into a status error. raw is plain
// text or {"code", "message", "details"} with a status name; text, an unknown
// code and OK give INTERNAL. Empty raw gives a text that names the export.
func GuestError(raw []byte, export string, rc int32) error {
	var e struct {
		Code    string          `json:"code"`
		Message string          `json:"message"`
		Details json.RawMessage `json:"details"`
	}
	if len(raw) >= MaxErrorBytes {
		raw = mended(raw[:MaxErrorBytes])
	}
	if schema.Check(raw) == nil && raw[0] == '{' && json.Unmarshal(raw, &e) == nil && (e.Code != "" || e.Message != "") {
		code, ok := status.Parse(e.Code)
		if !ok || code == status.OK {
			code = status.Internal
		}
		err := status.Publicf(code, "%s", orDefault(Clean(e.Message, maxErrorMessageBytes), code.Label()))
		if len(e.Details) > 0 && len(e.Details) <= maxErrorDetailBytes {
			err = err.WithDetails(json.RawMessage(Escape(e.Details)))
		}
		return err
	}
	if len(raw) == 0 {
		return status.Publicf(status.Internal, "%q failed with code %d and gave no reason", export, rc).WithCause(ErrSilent)
	}
	return status.Publicf(status.Internal, "%s", orDefault(Clean(string(raw), maxErrorMessageBytes), "failed"))
}

// ErrSilent is the cause of the error of a guest that failed without a word.
var ErrSilent = errors.New("the guest gave no reason")

func orDefault(s, alternative string) string {
	if s == "" {
		return alternative
	}
	return s
}

// OKReply returns {"ok": value}, the reply of a capability that worked.
func OKReply(value json.RawMessage) []byte {
	if len(value) == 0 {
		value = json.RawMessage("null")
	}
	return append(append([]byte(`{"ok":`), value...), '}')
}

// ErrorReply returns {"error": {code, message}}, the reply of a capability that
// failed. It tells only what may leave the process.
func ErrorReply(err error) []byte {
	wire := status.ToWire(err, false)
	raw, merr := json.Marshal(map[string]any{"error": map[string]string{"code": wire.Status, "message": wire.Message}})
	if merr != nil {
		return []byte(`{"error":{"code":"INTERNAL","message":"internal error"}}`)
	}
	return raw
}
