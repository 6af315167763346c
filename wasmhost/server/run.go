package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/negotiation"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// listActions describes the actions of the tenant's registry, of one kind when the query names it, and its
// middleware, which is no action. Those of a dynamic action provider have the key that leads through it. Errors of actions that can't be listed are returned beside the list, and logged.
//
// In pages of the list, middleware and failures come with the first one.
func (s *Server) listActions(c echo.Context) error {
	p, err := readPage(c, "actions", 0)
	if err != nil {
		return err
	}
	reg, err := s.config.Registry(param(c, "tenant"))
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	entries, failed := reg.Catalog(ctx)
	if failed != nil && ctx.Err() != nil {
		return failed
	}
	kind := action.Kind(c.QueryParam("type"))
	chosen := slices.DeleteFunc(entries, func(e registry.Entry) bool {
		return e.Desc.Kind == action.DynamicActionProvider || (kind != "" && e.Desc.Kind != kind)
	})
	var failures []status.Wire
	s.logUnlisted(c, failed)
	for _, err := range separate(failed) {
		failures = append(failures, status.ToWire(err, s.config.Dev))
	}
	var used []middleware.Desc
	first := p.after == ""
	if !first {
		failures = nil
	}
	if first && (kind == "" || kind == middleware.Kind) {
		used = middleware.List(reg)
	}
	key := func(e registry.Entry) string { return e.Key }
	chosen, next := cut(p, chosen, key, byText)
	return writeLists(c, next, listOf("actions", chosen, true), listOf("middleware", used, false), listOf("failures", failures, false))
}

func (s *Server) logUnlisted(c echo.Context, failed error) {
	for _, err := range separate(failed) {
		s.log.WarnContext(c.Request().Context(), "some actions can't be listed", slog.String("tenant", param(c, "tenant")), slog.String("request_id", requestID(c)), slog.Any("error", err))
	}
}

// separate returns the errors that were joined to err.
func separate(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
		return nil
	case !ok:
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, separate(e)...)
	}
	return all
}

// runTool reads {"input"?, "context"?}. The tool is named by its full name or, where
// only one ends in it, by its short one; that of a dynamic action provider by "<provider>:tool/<name>".
//
// The context is what the caller says of itself: the guest can read it, and the
// server vouches for nothing in it but "auth", where it asks who calls; see
// [withAuth].
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
	if status.Of(err) == status.NotFound && strings.Contains(name, ":") { // "<provider>:tool/<name>"
		a, err = reg.Resolve(ctx, registry.ProviderPrefix+strings.TrimPrefix(name, registry.ProviderPrefix[1:]), action.Tool, action.ToolV2)
	}
	if err != nil {
		return err
	}
	return s.runNamed(c, a, false)
}

// modular are the kinds of actions besides tools that are run by their keys. Models are
// asked by generate, where their tokens are counted and bounded.
var modular = []action.Kind{
	action.Embedder, action.Evaluator, action.Retriever, action.Indexer, action.Reranker,
	action.Resource, action.Prompt, action.ExecutablePrompt,
}

// runAction is runTool for a module's action of another kind: the path ends in its key,
// <kind>/<module>/<name>.
func (s *Server) runAction(c echo.Context) error {
	reg, err := s.config.Registry(param(c, "tenant"))
	if err != nil {
		return err
	}
	key, err := action.ParseKey("/" + param(c, "*"))
	if err != nil || !slices.Contains(modular, key.Kind) {
		return status.Publicf(status.NotFound, "the path names no action that is run here; want <kind>/<module>/<name>, such as embedder/acme/words")
	}
	a, err := reg.Lookup(c.Request().Context(), key)
	if err != nil {
		return err
	}
	return s.runNamed(c, a, true)
}

// runNamed reads the call of an action, and runs it; of a module's only, where modules says so.
func (s *Server) runNamed(c echo.Context, a action.Action, modules bool) error {
	call, err := s.readToolCall(c, a)
	if err != nil {
		return err
	}
	defer call.slot.Done()
	if modules && !call.slot.OfModule() {
		key := a.Desc().Key()
		return status.Publicf(status.NotFound, "%s %q is not of a module", key.Kind, key.Name)
	}
	ctx := call.slot.Context
	if err := onlyMembers(call.members, "input", "context"); err != nil {
		return err
	}
	if raw, ok := call.members["context"]; ok {
		if ctx, err = withCallersContext(ctx, c, raw); err != nil {
			return err
		}
	}
	if !call.slot.OfModule() {
		a = s.counted(a, param(c, "tenant"), usage.Tool)
	}
	return s.answer(ctx, c, answering{a, "result", call.slot.Done}, call.members["input"])
}

func errGeneratesNot() error {
	return status.Publicf(status.Unimplemented, "this server does not generate: the engine's generate action is not registered")
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
		return errGeneratesNot()
	}
	if err != nil {
		return err
	}
	done, err := s.config.Host.BeginGenerate(param(c, "tenant"))
	if err != nil {
		return err
	}
	defer done()
	body, err := s.readJSON(c)
	if err != nil {
		return err
	}
	if body == nil {
		return status.Publicf(status.InvalidArgument, "body: want Genkit's GenerateActionOptions, such as {\"model\": …, \"messages\": […]}")
	}
	return s.answer(ctx, c, answering{a, "", done}, body)
}

// answer runs the action and writes its result; as a stream where the caller asked
// for one.
func (s *Server) answer(ctx context.Context, c echo.Context, a answering, in json.RawMessage) error {
	streaming, err := negotiation.Stream(c.Request())
	if err != nil {
		return err
	}
	if streaming {
		return s.stream(ctx, c, a, in)
	}
	out, err := a.action.RunJSON(ctx, in, nil)
	a.ran()
	if err != nil {
		if i, ok := tool.AsInterrupt(err); ok {
			return writeRaw(c, "interrupt", interruptValue(i))
		}
		return err
	}
	return writeRaw(c, a.envelope, out)
}
