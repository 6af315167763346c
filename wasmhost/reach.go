package wasmhost

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// parse reads what a guest wrote; INVALID_ARGUMENT when it does not fit v.
func parse(raw []byte, v any) error {
	if err := schema.Check(raw); err != nil {
		return status.Publicf(status.InvalidArgument, "not what was asked for: %w", err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return status.Publicf(status.InvalidArgument, "not of the form that was asked for").WithCause(err)
	}
	return nil
}

func equalJSON(a, b any) bool {
	x, errX := marshal(a)
	y, errY := marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// withoutKey takes config.apiKey, the caller's credential, out of what a guest sees.
func withoutKey(config json.RawMessage) (shown, key json.RawMessage) {
	var fields map[string]json.RawMessage
	if len(config) == 0 || json.Unmarshal(config, &fields) != nil {
		return config, nil
	}
	key, found := fields["apiKey"]
	if !found {
		return config, nil
	}
	delete(fields, "apiKey")
	if len(fields) == 0 {
		return nil, key
	}
	shown, err := marshal(fields)
	if err != nil {
		return nil, key
	}
	return shown, key
}

// withKey puts it back. A guest has no say in it.
func withKey(config, key json.RawMessage) (json.RawMessage, error) {
	config, _ = withoutKey(config)
	if key == nil {
		return config, nil
	}
	fields := map[string]json.RawMessage{}
	if len(config) > 0 && string(config) != "null" {
		if err := json.Unmarshal(config, &fields); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "next: want config to be an object")
		}
	}
	fields["apiKey"] = key
	return marshal(fields)
}

// sameSystem refuses system messages that were not there.
func sameSystem(given, asked []content.Message) error {
	system := func(messages []content.Message) (list []content.Message) {
		for _, m := range messages {
			if m.Role == content.RoleSystem {
				list = append(list, m)
			}
		}
		return list
	}
	before := system(given)
	for _, m := range system(asked) {
		if !slices.ContainsFunc(before, func(known content.Message) bool { return equalJSON(known, m) }) {
			return status.Publicf(status.PermissionDenied, "next: a module may not write system messages")
		}
	}
	return nil
}

// sameTools refuses tools that were not offered.
func sameTools(given, asked []model.ToolDefinition) error {
	for i := range asked {
		if !slices.ContainsFunc(given, func(known model.ToolDefinition) bool { return known.Name == asked[i].Name }) {
			return status.Publicf(status.PermissionDenied, "next: a module may not offer tools that the caller did not")
		}
	}
	return nil
}

// sameReach refuses options that reach further than the caller's.
func sameReach(given, asked *model.GenerateOptions) error {
	if err := sameSystem(given.Messages, asked.Messages); err != nil {
		return err
	}
	for _, t := range asked.Tools {
		if !slices.Contains(given.Tools, t) {
			return status.Publicf(status.PermissionDenied, "next: a module may not offer tools that the caller did not")
		}
	}
	for _, r := range asked.Resources {
		if !slices.Contains(given.Resources, r) {
			return status.Publicf(status.PermissionDenied, "next: a module may not offer resources that the caller did not")
		}
	}
	switch {
	case asked.Model != given.Model:
		return status.Publicf(status.PermissionDenied, "next: a module may not choose the model")
	case !equalJSON(asked.Use, given.Use):
		return status.Publicf(status.PermissionDenied, "next: a module may not choose middleware")
	case !equalJSON(asked.Resume, given.Resume) || given.Resume != nil && !equalJSON(asked.Messages, given.Messages):
		return status.Publicf(status.PermissionDenied, "next: a module may not resume for the caller")
	case asked.ReturnToolRequests != given.ReturnToolRequests || asked.MaxTurns != given.MaxTurns:
		return status.Publicf(status.PermissionDenied, "next: a module may not have tools run that the caller did not ask for")
	case !equalJSON(instructions(asked), instructions(given)): // they may go into a system message
		return status.Publicf(status.PermissionDenied, "next: a module may not write instructions")
	}
	return nil
}

func instructions(o *model.GenerateOptions) json.RawMessage {
	if o.Output == nil {
		return nil
	}
	return o.Output.Instructions
}
