package mcp

import (
	"encoding/json"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// question is the name of the one question that a result asks.
const question = "interrupt"

const maxQuestion = 4 << 10

// ask puts a tool's interrupt to the client's user: as input that the result requires, which the SDK asks of clients of
// earlier revisions itself where it can. A client that can't be asked reads what the tool wanted to know.
func (f *Face) ask(req *sdk.CallToolRequest, d action.Desc, i *tool.InterruptError) (*sdk.CallToolResult, error) {
	text := questionOf(d, i.Metadata)
	why := cannotAsk(req)
	if p := req.Session.InitializeParams(); f.request != nil && (p == nil || p.ProtocolVersion < newRevision) {
		why = unasked // over HTTP, earlier revisions would need a session
	}
	if why != "" {
		return f.toolError(status.Publicf(status.FailedPrecondition, "%s: %s", why, text)), nil
	}
	return &sdk.CallToolResult{InputRequests: sdk.InputRequestMap{question: &sdk.ElicitParams{
		Mode: "form", Message: text, RequestedSchema: answerSchema(d),
	}}}, nil
}

const unasked = "the tool asks before it goes on, and this client can't be asked"

// cannotAsk tells why a client can't be asked a question; empty when it can.
func cannotAsk(req *sdk.CallToolRequest) string {
	p := req.Session.InitializeParams()
	switch {
	case p == nil || p.Capabilities == nil || p.Capabilities.Elicitation == nil:
		return unasked
	case p.ProtocolVersion < newRevision && len(req.Params.InputResponses) > 0: // the SDK asks for them, once
		return "the tool asks a second time"
	}
	return ""
}

// questionOf is an interrupt in words: its message where it has one, else all that it says.
func questionOf(d action.Desc, metadata json.RawMessage) string {
	var m map[string]json.RawMessage
	if json.Unmarshal(metadata, &m) == nil {
		for _, name := range []string{"message", "question", "prompt", "reason"} {
			var text string
			if json.Unmarshal(m[name], &text) == nil && text != "" {
				return abi.Clean(text, maxQuestion)
			}
		}
	}
	if len(m) == 0 {
		return "May the tool " + abi.Line(d.Name, 256) + " go on?"
	}
	return "The tool " + abi.Line(d.Name, 256) + " asks: " + textOf(metadata, maxQuestion)
}

// anyAnswer is the form for a tool that runs again once it is answered.
var anyAnswer = json.RawMessage(`{"type":"object","properties":{"answer":{"type":"string","title":"Answer","description":"What the tool is told, if anything."}}}`)

// answerSchema is the form to fill in: for a tool that does nothing but ask, that of its output.
func answerSchema(d action.Desc) json.RawMessage {
	if tool.Restartable(d) {
		return anyAnswer
	}
	if out := outputSchema(tool.OutputSchemaOf(d)); out != nil {
		return out
	}
	var out any = map[string]any{"type": "string"}
	if raw := tool.OutputSchemaOf(d); !isNothing(raw) {
		out = raw
	}
	raw, err := rawjson.Encode(map[string]any{"type": "object", "properties": map[string]any{"answer": out}, "required": []string{"answer"}})
	if err != nil {
		return anyAnswer
	}
	return raw
}

// answer is what the client's user said: what a tool is resumed with, or the output of one that only asks.
type answer struct{ resumed, output json.RawMessage }

func answerOf(req *sdk.CallToolRequest, d action.Desc) (a answer, err error) {
	response, ok := req.Params.InputResponses[question]
	if !ok {
		return a, nil
	}
	given, ok := response.(*sdk.ElicitResult)
	if !ok {
		return a, status.Publicf(status.InvalidArgument, "the answer to %q is of another kind than the question", question)
	}
	if given.Action != "accept" {
		return a, status.Publicf(status.Aborted, "the user did not agree that the tool goes on")
	}
	if tool.Restartable(d) {
		a.resumed = json.RawMessage("true")
		if len(given.Content) > 0 {
			a.resumed, err = rawjson.Encode(given.Content)
		}
		return a, err
	}
	var out any = given.Content
	if outputSchema(tool.OutputSchemaOf(d)) == nil {
		out = given.Content["answer"]
	}
	a.output, err = rawjson.Encode(out)
	return a, err
}
