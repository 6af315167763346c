package generate

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// StartOperation is [Run] for a model that works in the background: it returns the
// operation, which [CheckOperation] asks about. It fails with INVALID_ARGUMENT when the
// model does not declare long-running work and with FAILED_PRECONDITION when it
// returns no operation (Genkit JS: generateOperation).
func StartOperation(ctx context.Context, reg *registry.Registry, opts *model.GenerateOptions, options ...Option) (*model.Operation, error) {
	if err := check(opts); err != nil {
		return nil, err
	}
	a, err := resolveModel(ctx, reg, opts.Model)
	if err != nil {
		return nil, err
	}
	name := a.Desc().Name
	if !model.From(a).Info().Supports.LongRunning {
		return nil, status.Publicf(status.InvalidArgument, "Model '%s' does not support long running operations.", name)
	}
	resp, err := Run(ctx, reg, opts, nil, options...)
	if err != nil {
		return nil, err
	}
	if len(resp.Operation) == 0 || string(resp.Operation) == "null" {
		return nil, status.Publicf(status.FailedPrecondition, "Model '%s' did not return an operation.", name)
	}
	return readOperation(resp.Operation)
}

// CheckOperation asks the model that began op how it is going. It fails with
// INVALID_ARGUMENT when op does not name a background model that reg has; the rest is
// the model's own.
func CheckOperation(ctx context.Context, reg *registry.Registry, op *model.Operation) (*model.Operation, error) {
	name, err := operationModel(ctx, reg, op)
	if err != nil {
		return nil, err
	}
	a, err := reg.Lookup(ctx, model.CheckKey(name))
	if errors.Is(err, status.ErrNotFound) {
		return nil, unresolvable(op, err)
	}
	if err != nil {
		return nil, err
	}
	return runOperation(ctx, a, op)
}

// CancelOperation asks the model that began op to end it. It fails like
// [CheckOperation], and with UNIMPLEMENTED when the model can't cancel.
func CancelOperation(ctx context.Context, reg *registry.Registry, op *model.Operation) (*model.Operation, error) {
	name, err := operationModel(ctx, reg, op)
	if err != nil {
		return nil, err
	}
	a, err := reg.Lookup(ctx, model.CancelKey(name))
	if errors.Is(err, status.ErrNotFound) {
		return nil, status.Publicf(status.Unimplemented, "model %q does not support the cancelling of operations", name).WithCause(err)
	}
	if err != nil {
		return nil, err
	}
	return runOperation(ctx, a, op)
}

// operationModel returns the name of the model that began op.
func operationModel(ctx context.Context, reg *registry.Registry, op *model.Operation) (string, error) {
	if op == nil || op.Action == "" {
		return "", status.Publicf(status.InvalidArgument, "Provided operation is missing original request information")
	}
	key, err := action.ParseKey(op.Action)
	if err != nil {
		return "", err
	}
	if key.Kind != action.BackgroundModel {
		return "", unresolvable(op, nil)
	}
	_, err = reg.Lookup(ctx, key)
	if errors.Is(err, status.ErrNotFound) {
		return "", unresolvable(op, err)
	}
	return key.Name, err
}

func unresolvable(op *model.Operation, cause error) error {
	return status.Publicf(status.InvalidArgument, "Failed to resolve background action from original request: %s", op.Action).WithCause(cause)
}

func runOperation(ctx context.Context, a action.Action, op *model.Operation) (*model.Operation, error) {
	in, err := rawjson.Encode(op)
	if err != nil {
		return nil, status.Errorf(status.InvalidArgument, "encode the operation: %w", err)
	}
	out, err := a.RunJSON(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	return readOperation(out)
}

func readOperation(raw json.RawMessage) (*model.Operation, error) {
	op := &model.Operation{}
	if err := json.Unmarshal(raw, op); err != nil {
		return nil, status.Errorf(status.Internal, "operation: %w", err)
	}
	return op, nil
}
