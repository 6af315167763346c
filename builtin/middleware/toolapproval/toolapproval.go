// Package toolapproval lets only approved tools run; for others the caller is asked.
//
// It owns the middleware "toolApproval". A tool that is not on the list interrupts
// the generate call with metadata {"message": "Tool not in approved list: <name>"};
// restarting the request with metadata.resumed.toolApproved === true runs it. Use:
//
//	f, err := toolapproval.New()
//	err = middleware.Register(reg, f)
//	… engine.WithUse(engine.UseName("toolApproval", toolapproval.Config{Approved: []string{"math/add"}}))
//
// It follows Genkit JS (js/plugins/middleware/src/toolApproval.ts).
package toolapproval

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// Name is the middleware's name.
const Name = "toolApproval"

// Config is the config of a generate call. Without any list every tool is asked for.
type Config struct {
	Approved []string `json:"approved,omitempty" jsonschema_description:"The tools that run without asking: names as the model is shown them, or full names."`
	// AllowedTools is Genkit Go's word for Approved; both count.
	AllowedTools []string `json:"allowedTools,omitempty" jsonschema_description:"The same as approved, as Genkit Go writes it."`
}

// New makes the factory.
func New() (middleware.Factory, error) {
	return middleware.Define(middleware.Desc{Name: Name, Description: "Asks the caller before a tool runs that is not approved."},
		func(_ context.Context, c Config) (*middleware.Hooks, error) {
			return &middleware.Hooks{Tool: gate(slices.Concat(c.Approved, c.AllowedTools)).call}, nil
		})
}

// Plugin registers the middleware.
func Plugin() registry.Plugin { return middleware.Plugin(Name, New) }

// gate is the approved names.
type gate []string

func (g gate) call(ctx context.Context, call *middleware.ToolCall, next middleware.ToolFunc) (*content.Part, error) {
	if g.approves(call) || approved(call.Part.Metadata) {
		return next(ctx, call)
	}
	metadata, err := json.Marshal(map[string]string{"message": "Tool not in approved list: " + call.Part.ToolRequest.Name})
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode an interrupt: %w", err)
	}
	return nil, tool.Interrupt(metadata)
}

func (g gate) approves(call *middleware.ToolCall) bool {
	return slices.Contains(g, call.Part.ToolRequest.Name) || call.Tool != nil && slices.Contains(g, call.Tool.Desc().Name)
}

// approved reads the caller's answer: true itself, nothing that is merely truthy.
func approved(metadata content.Metadata) bool {
	var resumed map[string]json.RawMessage // a struct would match names in any case
	return json.Unmarshal(metadata["resumed"], &resumed) == nil && string(resumed["toolApproved"]) == "true"
}
