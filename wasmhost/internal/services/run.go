package services

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// below returns a context for an action that a guest has run.
func (v *Call) below(ctx context.Context) (context.Context, error) {
	if v.tree == nil {
		v.tree = &callTree{runs: &atomic.Int64{}}
	}
	if v.tree.depth >= maxDepth {
		return nil, status.Publicf(status.ResourceExhausted, "guests call each other more than %d deep", maxDepth)
	}
	if v.tree.runs.Add(1) > maxRuns {
		return nil, status.Publicf(status.ResourceExhausted, "one call has caused more than %d runs of actions", maxRuns)
	}
	return context.WithValue(ctx, callTreeKey{}, &callTree{depth: v.tree.depth + 1, runs: v.tree.runs}), nil
}

func (v *Call) actions() (*registry.Registry, error) {
	if v.config.Registry == nil {
		return nil, status.Publicf(status.Unimplemented, "this host runs no actions for guests")
	}
	return v.config.Registry(v.config.Tenant)
}

// run is the capability run: an action of the tenant's registry, by its whole key.
func (v *Call) run(ctx context.Context, request []byte) (json.RawMessage, error) {
	var in struct {
		Key   string          `json:"key"`
		Input json.RawMessage `json:"input"`
	}
	if err := decode(abi.CapRun, request, &in); err != nil {
		return nil, err
	}
	key, err := action.ParseKey(in.Key)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "run: %q is no action's key; want one such as /tool/search", abi.Line(in.Key, 80))
	}
	if err := v.mayRun(key); err != nil {
		return nil, err
	}
	reg, err := v.actions()
	if err != nil {
		return nil, err
	}
	a, err := reg.Lookup(ctx, key)
	if err != nil {
		return nil, err
	}
	if ctx, err = v.below(ctx); err != nil {
		return nil, err
	}
	if key.Kind == action.Model {
		return v.runModel(ctx, a, in.Input)
	}
	out, err := a.RunJSON(ctx, in.Input, nil)
	return out, answered(err)
}

// runModel runs a model as generate calls do: what it takes is counted for who pays. The model that
// the request asks for has to be granted as well.
func (v *Call) runModel(ctx context.Context, a action.Action, input json.RawMessage) (json.RawMessage, error) {
	req := &model.Request{}
	if err := json.Unmarshal(input, req); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "model request: %w", err)
	}
	if err := v.mayRun(action.Key{Kind: action.Model, Name: model.Asked(model.From(a), req.Config)}); err != nil {
		return nil, err
	}
	resp, err := middleware.Serve(ctx, a, req, nil)
	if err != nil {
		return nil, answered(err)
	}
	return marshal(resp)
}

func (v *Call) mayRun(key action.Key) error {
	if !policy.Matches(v.config.Grants.Actions, strings.TrimPrefix(key.String(), "/")) {
		return status.Publicf(status.PermissionDenied, "the action %s is not granted", abi.Line(key.String(), 100))
	}
	return nil
}

// answered is an action's failure as the guest that ran it may see it.
func answered(err error) error {
	if _, ok := tool.AsInterrupt(err); ok {
		return status.Publicf(status.FailedPrecondition, "the tool has interrupted; a guest can't answer for its caller")
	}
	return err
}

// generate is the capability generate: Genkit's GenerateActionOptions, of which the
// model and every tool have to be granted. Names in the options are replaced by whole
// keys, so that exactly the actions that were checked are run. Middleware and resources are the
// host's and not a guest's to choose.
func (v *Call) generate(ctx context.Context, request []byte) (json.RawMessage, error) {
	var options map[string]json.RawMessage
	if err := decode(abi.CapGenerate, request, &options); err != nil {
		return nil, err
	}
	reg, err := v.actions()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"use", "resources", "resume"} {
		if raw, ok := options[name]; ok && string(raw) != "null" && string(raw) != "[]" {
			return nil, status.Publicf(status.PermissionDenied, "generate: a guest gives no %q", name)
		}
	}
	var name string
	if json.Unmarshal(options["model"], &name) != nil || name == "" {
		return nil, status.Publicf(status.InvalidArgument, "generate: \"model\" is missing; name one such as \"openai/gpt-4o\"")
	}
	name = strings.TrimPrefix(name, "/model/")
	if !policy.Matches(v.config.Grants.Generate, name) {
		return nil, status.Publicf(status.PermissionDenied, "generate: the model %q is not granted", abi.Line(name, 100))
	}
	named, err := reg.Lookup(ctx, action.Key{Kind: action.Model, Name: name})
	if err != nil {
		return nil, err
	}
	if asked := model.Asked(model.From(named), options["config"]); !policy.Matches(v.config.Grants.Generate, asked) {
		return nil, status.Publicf(status.PermissionDenied, "generate: the model %q, which \"config.version\" asks for, is not granted", abi.Line(asked, 100))
	}
	if options["model"], err = marshal(named.Desc().Key().String()); err != nil {
		return nil, err
	}
	if err := v.nameTools(ctx, reg, options); err != nil {
		return nil, err
	}
	raw, err := marshal(options)
	if err != nil {
		return nil, err
	}
	loop, err := reg.Lookup(ctx, action.Key{Kind: action.Util, Name: "generate"})
	if err != nil {
		return nil, err
	}
	if ctx, err = v.below(ctx); err != nil {
		return nil, err
	}
	done, err := v.config.BeginGenerate()
	if err != nil {
		return nil, err
	}
	defer done()
	out, err := loop.RunJSON(ctx, raw, nil)
	return out, answered(err)
}

// nameTools checks the tools of a generate request against the grants.
func (v *Call) nameTools(ctx context.Context, reg *registry.Registry, options map[string]json.RawMessage) error {
	raw, ok := options["tools"]
	if !ok {
		return nil
	}
	var names []string
	if json.Unmarshal(raw, &names) != nil {
		return status.Publicf(status.InvalidArgument, "generate: \"tools\" is a list of names")
	}
	for i, name := range names {
		if err := ctx.Err(); err != nil {
			return status.Convert(err)
		}
		if strings.Contains(name, "*") {
			return status.Publicf(status.InvalidArgument, "generate: name each tool; %q is a pattern", abi.Line(name, 100))
		}
		a, err := reg.Resolve(ctx, name, action.Tool, action.ToolV2)
		if err != nil {
			return err
		}
		if err := v.mayRun(a.Desc().Key()); err != nil {
			return err
		}
		names[i] = a.Desc().Key().String()
	}
	var err error
	options["tools"], err = marshal(names)
	return err
}
