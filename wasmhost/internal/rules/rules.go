// Package rules compares the requests of a middleware module with the input that it was given, and
// refuses, with PERMISSION_DENIED, forbidden changes. Everything is forbidden that is not allowed:
// members that nobody has thought of too.
package rules

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Rules are the parts of its input that a middleware module may change.
type Rules struct {
	// Rewrite is the grant of that name.
	Rewrite bool
}

// Request compares the request of a model hook with the one that it was given. It may change config but for
// its version, which may be another model, tool choice and output, leave tools out, and add messages and documents; with the
// grant it may also change or drop messages that are not the system's, documents, and
// what tools are described with. Any other difference is PERMISSION_DENIED.
func (r Rules) Request(given, asked *model.Request) error {
	if err := r.messages(given.Messages, asked.Messages); err != nil {
		return err
	}
	if err := r.documents(given.Docs, asked.Docs); err != nil {
		return err
	}
	if err := r.tools(given.Tools, asked.Tools); err != nil {
		return err
	}
	if !model.SameVersion(given.Config, asked.Config) {
		return refuseMember("config.version")
	}
	allowed := *given
	allowed.Messages, allowed.Docs, allowed.Tools = asked.Messages, asked.Docs, asked.Tools
	allowed.Config, allowed.ToolChoice, allowed.Output = asked.Config, asked.ToolChoice, asked.Output
	return unchanged(&allowed, asked)
}

// Options is Request for the generate hook, whose options name tools and resources.
func (r Rules) Options(given, asked *model.GenerateOptions) error {
	if err := r.messages(given.Messages, asked.Messages); err != nil {
		return err
	}
	if given.Resume != nil && !rawjson.EqualAny(given.Messages, asked.Messages) { // answers belong to the last of them
		return refuseMember("messages")
	}
	if err := r.documents(given.Docs, asked.Docs); err != nil {
		return err
	}
	if !subset(asked.Tools, given.Tools) {
		return refuseMember("tools")
	}
	if !subset(asked.Resources, given.Resources) {
		return refuseMember("resources")
	}
	if !model.SameVersion(given.Config, asked.Config) {
		return refuseMember("config.version")
	}
	allowed := *given
	allowed.Messages, allowed.Docs, allowed.Tools, allowed.Resources = asked.Messages, asked.Docs, asked.Tools, asked.Resources
	allowed.Config, allowed.ToolChoice = asked.Config, asked.ToolChoice
	if asked.Output != nil { // but for the instructions, which may go into a system message
		output := *asked.Output
		output.Instructions = nil
		if given.Output != nil {
			output.Instructions = given.Output.Instructions
		}
		allowed.Output = &output
	} else if given.Output == nil || given.Output.Instructions == nil {
		allowed.Output = nil
	}
	return unchanged(&allowed, asked)
}

// messages compares conversations. Roles are Genkit's to the letter; those of the system
// are the same, in the same order.
func (r Rules) messages(given, asked []content.Message) error {
	for i := range asked {
		if !asked[i].Role.Known() {
			return status.Publicf(status.PermissionDenied, "next: message %d has the role %q, want one of %v", i, abi.Line(string(asked[i].Role), 40), content.Roles())
		}
	}
	if !rawjson.EqualAny(systemOf(given), systemOf(asked)) {
		return status.Publicf(status.PermissionDenied, "next: a module may not write, change or drop system messages")
	}
	if r.Rewrite {
		return nil
	}
	kept := 0
	for i := range asked {
		if kept < len(given) && rawjson.EqualAny(given[kept], asked[i]) {
			kept++
			continue
		}
		if !isSpeech(asked[i]) {
			return status.Publicf(status.PermissionDenied, "next: message %d is neither one of the caller's nor a new one of the user or the model without tool requests; the grant \"rewrite\" lets a module change messages", i)
		}
	}
	if kept < len(given) {
		return status.Publicf(status.PermissionDenied, "next: message %d of the caller's is changed or missing; the grant \"rewrite\" lets a module do so", kept)
	}
	return nil
}

// isSpeech reports whether a message only says something.
func isSpeech(m content.Message) bool {
	return (m.Role == content.RoleUser || m.Role == content.RoleModel) &&
		!slices.ContainsFunc(m.Content, func(p content.Part) bool { return p.ToolRequest != nil || p.ToolResponse != nil })
}

func systemOf(messages []content.Message) []content.Message {
	list := []content.Message{}
	for _, m := range messages {
		if m.Role == content.RoleSystem {
			list = append(list, m)
		}
	}
	return list
}

func (r Rules) documents(given, asked []content.Document) error {
	if r.Rewrite {
		return nil
	}
	kept := 0
	for i := range asked {
		if kept < len(given) && rawjson.EqualAny(given[kept], asked[i]) {
			kept++
		}
	}
	if kept < len(given) {
		return status.Publicf(status.PermissionDenied, "next: document %d of the caller's is changed or missing; the grant \"rewrite\" lets a module do so", kept)
	}
	return nil
}

// tools wants each of asked among those given: the same by value or, with the grant, by
// name.
func (r Rules) tools(given, asked []model.ToolDefinition) error {
	for i := range asked {
		at := slices.IndexFunc(given, func(known model.ToolDefinition) bool { return known.Name == asked[i].Name })
		switch {
		case at < 0:
			return status.Publicf(status.PermissionDenied, "next: a module may not offer tools that the caller did not")
		case given[at].Key != asked[i].Key || !r.Rewrite && !rawjson.EqualAny(given[at], asked[i]):
			return status.Publicf(status.PermissionDenied, "next: a module may not change the tool %q; the grant \"rewrite\" lets it change how tools are described", abi.Line(asked[i].Name, 80))
		}
	}
	return nil
}

func subset(list, of []string) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !slices.Contains(of, s) })
}

// unchanged names the first member in which asked differs from what is allowed.
func unchanged(allowed, asked any) error {
	if rawjson.EqualAny(allowed, asked) {
		return nil
	}
	before, after := membersOf(allowed), membersOf(asked)
	for _, name := range slices.Sorted(maps.Keys(merged(before, after))) {
		if !rawjson.EqualAny(before[name], after[name]) {
			return refuseMember(name)
		}
	}
	return status.Publicf(status.PermissionDenied, "next: a module may not change that of a request")
}

func merged(a, b map[string]json.RawMessage) map[string]json.RawMessage {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func membersOf(v any) map[string]json.RawMessage {
	m := map[string]json.RawMessage{}
	if raw, err := rawjson.Encode(v); err == nil {
		_ = json.Unmarshal(raw, &m) // an object, as it was encoded from a struct
	}
	return m
}

func refuseMember(name string) error {
	return status.Publicf(status.PermissionDenied, "next: a module may not change %q of the call", abi.Line(name, 80))
}
