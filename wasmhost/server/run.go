package server

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// listActions describes what the tenant's registry can run, of one kind when the
// query names it.
func (s *Server) listActions(c echo.Context) error {
	reg, err := s.config.Registry(param(c, "tenant"))
	if err != nil {
		return err
	}
	descs, err := reg.List(c.Request().Context())
	if err != nil {
		return err
	}
	kind := action.Kind(c.QueryParam("type"))
	chosen := make([]action.Desc, 0, len(descs))
	for _, d := range descs {
		if kind == "" || d.Kind == kind {
			chosen = append(chosen, d)
		}
	}
	return writeJSON(c, http.StatusOK, struct {
		Actions []action.Desc `json:"actions"`
	}{chosen})
}

// runTool reads {"input"?, "context"?}. The tool is named by its full name or, where
// only one ends in it, by its short one.
//
// The context is what the caller says of itself: the guest can read it, and the
// server vouches for nothing in it. A server that knows its callers puts what it
// knows in its place.
func (s *Server) runTool(c echo.Context) error {
	ctx := c.Request().Context()
	reg, err := s.config.Registry(param(c, "tenant"))
	if err != nil {
		return err
	}
	name := param(c, "*")
	if strings.HasPrefix(name, "/") || name == "" {
		return status.Publicf(status.NotFound, "the path names no tool")
	}
	a, err := reg.Resolve(ctx, name, action.Tool, action.ToolV2)
	if err != nil {
		return err
	}
	body, err := s.readJSON(c)
	if err != nil {
		return err
	}
	m, err := members(body)
	if err != nil {
		return err
	}
	if err := onlyMembers(m, "input", "context"); err != nil {
		return err
	}
	if raw, ok := m["context"]; ok {
		if raw[0] != '{' {
			return status.Publicf(status.InvalidArgument, "body: \"context\" wants a JSON object")
		}
		ctx = action.WithContext(ctx, raw)
	}
	return s.answer(ctx, c, a, m["input"], "result")
}

// generate passes the body, Genkit's GenerateActionOptions, to the registry's
// generate action and its output, a GenerateResponse, back.
func (s *Server) generate(c echo.Context) error {
	ctx := c.Request().Context()
	reg, err := s.config.Registry(param(c, "tenant"))
	if err != nil {
		return err
	}
	a, err := reg.Lookup(ctx, action.Key{Kind: action.Util, Name: "generate"})
	if status.Of(err) == status.NotFound {
		return status.Publicf(status.Unimplemented, "this server does not generate: the engine's generate action is not registered")
	}
	if err != nil {
		return err
	}
	body, err := s.readJSON(c)
	if err != nil {
		return err
	}
	if body == nil {
		return status.Publicf(status.InvalidArgument, "body: want Genkit's GenerateActionOptions, such as {\"model\": …, \"messages\": […]}")
	}
	return s.answer(ctx, c, a, body, "")
}

// answer runs the action and writes what it returns, in the member that envelope
// names or, when that is empty, as it is; as a stream where the caller asked for
// one.
func (s *Server) answer(ctx context.Context, c echo.Context, a action.Action, in json.RawMessage, envelope string) error {
	streaming, err := wantsStream(c.Request())
	if err != nil {
		return err
	}
	if streaming {
		return s.stream(ctx, c, a, in)
	}
	out, err := a.RunJSON(ctx, in, nil)
	if err != nil {
		if i, ok := tool.AsInterrupt(err); ok {
			return writeRaw(c, "interrupt", interruptValue(i))
		}
		return err
	}
	return writeRaw(c, envelope, out)
}

// interruptValue is the metadata of an interrupt, true when there is none.
func interruptValue(i *tool.InterruptError) json.RawMessage {
	if len(i.Metadata) == 0 {
		return json.RawMessage("true")
	}
	return i.Metadata
}

// writeRaw writes JSON that is JSON already.
func writeRaw(c echo.Context, envelope string, raw json.RawMessage) error {
	c.Response().Header().Set("Content-Type", "application/json")
	c.Response().WriteHeader(http.StatusOK)
	_, err := c.Response().Write(enclose(envelope, raw))
	return err
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
