package pdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/codec"
	"github.com/genkit-wasm/genkit-wasm/pdk/go/internal/host"
)

// Emit streams v, encoded as JSON, to the caller as one chunk. A caller that does
// not stream never sees it, which is no error.
func Emit(v any) error {
	request, err := codec.Any(v)
	if err != nil {
		return fmt.Errorf("encode chunk: %w", err)
	}
	reply := host.Emit(request)
	codec.Release(request)
	return decodeReply(reply, nil)
}

// errInterrupted makes Tool end a call without output and without error.
var errInterrupted = errors.New("the call was interrupted")

// Interrupt marks the call as interrupted: the caller gets metadata (which must
// encode as a JSON object or null) and decides whether to run the tool again. A
// tool returns at once, with the error that Interrupt gives it:
//
//	return Receipt{}, pdk.Interrupt(map[string]any{"reason": "approve transfer"})
//
// The error is never nil.
func Interrupt(metadata any) error {
	request, err := encode(metadata)
	if err != nil {
		return fmt.Errorf("encode interrupt metadata: %w", err)
	}
	if err := decodeReply(host.Interrupt(request), nil); err != nil {
		return err
	}
	return errInterrupted
}

// Context decodes the caller's context (who calls: a JSON object, empty when
// nothing is known) into v.
func Context(v any) error { return decodeReply(host.Context(), v) }

// Resumed decodes the caller's answer to this tool's interrupt into v, and reports
// whether the tool was restarted at all. An answer without words is true.
func Resumed(v any) (again bool, err error) {
	var answer *struct {
		Resumed json.RawMessage `json:"resumed"`
	}
	if err := decodeReply(host.Resumed(), &answer); err != nil || answer == nil {
		return false, err
	}
	if v == nil {
		return true, nil
	}
	err = json.Unmarshal(answer.Resumed, v)
	if string(answer.Resumed) == "true" {
		return true, nil // v may be of a type for answers with words
	}
	return true, err
}

// decodeReply decodes {"ok": value} into v, which may be nil, and turns
// {"error": …} into an *Error.
func decodeReply(reply []byte, v any) error {
	// A reply has no white space around its one member (pdk/abi.md, clause 3.6).
	if value, ok := bytes.CutPrefix(reply, []byte(`{"ok":`)); ok && len(value) > 1 {
		if v == nil {
			return nil
		}
		return codec.DecodeAny(value[:len(value)-1], v)
	}
	var r struct {
		OK    json.RawMessage `json:"ok"`
		Error *Error          `json:"error"`
	}
	if err := json.Unmarshal(reply, &r); err != nil {
		return fmt.Errorf("decode reply: %w", err)
	}
	if r.Error != nil {
		return r.Error
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(r.OK, v)
}
