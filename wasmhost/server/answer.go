package server

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// answering is the state of a request's answer: the action that runs, the member in which its
// output is written (none when empty), and what is called once it has run, before the
// answer is written.
type answering struct {
	action   action.Action
	envelope string
	ran      func()
}

// interruptValue is the metadata of an interrupt, true when there is none.
func interruptValue(i *tool.InterruptError) json.RawMessage {
	if len(i.Metadata) == 0 {
		return json.RawMessage("true")
	}
	return i.Metadata
}

func enclose(member string, raw json.RawMessage) []byte {
	if member == "" {
		return append(slices.Clip(raw), '\n')
	}
	b := make([]byte, 0, len(raw)+len(member)+8)
	b = append(b, `{"`...)
	b = append(b, member...)
	b = append(b, `":`...)
	b = append(b, raw...)
	return append(b, "}\n"...)
}

// writeRaw writes JSON that is JSON already.
func writeRaw(c echo.Context, envelope string, raw json.RawMessage) error {
	c.Response().Header().Set("Content-Type", "application/json")
	c.Response().WriteHeader(http.StatusOK)
	_, err := c.Response().Write(enclose(envelope, raw))
	return err
}

func marshal(v any) (json.RawMessage, error) {
	raw, err := rawjson.Encode(v)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode %T: %w", v, err)
	}
	return raw, nil
}
