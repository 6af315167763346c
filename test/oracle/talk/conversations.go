//go:build peers

package talk

import (
	"encoding/json"
	"fmt"
)

// raw is JSON written in Go source.
func raw(s string) json.RawMessage { return json.RawMessage(s) }

// says answers with a text.
func says(text string) Turn {
	return Turn{Response: raw(fmt.Sprintf(`{"message":{"role":"model","content":[{"text":%q}]},"finishReason":"stop"}`, text))}
}

// calls answers with tool requests, each the JSON of a toolRequest.
func calls(requests ...string) Turn {
	content := ""
	for i, r := range requests {
		if i > 0 {
			content += ","
		}
		content += `{"toolRequest":` + r + `}`
	}
	return Turn{Response: raw(`{"message":{"role":"model","content":[` + content + `]},"finishReason":"stop"}`)}
}

// streams puts chunks before a turn's answer.
func streams(t Turn, chunks ...string) Turn {
	for _, c := range chunks {
		t.Chunks = append(t.Chunks, raw(c))
	}
	return t
}

// hi is a user's greeting, the first message of most conversations.
const hi = `{"role":"user","content":[{"text":"hi"}]}`

// opts are options with the greeting and what else is given.
func opts(more string) json.RawMessage {
	if more != "" {
		more = "," + more
	}
	return raw(`{"messages":[` + hi + `]` + more + `}`)
}

// add12 is the request that most tool conversations make.
const add12 = `{"name":"add","ref":"r1","input":{"a":1,"b":2}}`

// nSchema is a schema of an object with one number.
const nSchema = `{"type":"object","properties":{"n":{"type":"number"}},"required":["n"],"additionalProperties":false}`

// Conversations is the table; testdata/differs.json says which differences occur in
// each row.
var Conversations = []Conversation{
	{Name: "a text is answered", Options: opts(""), Script: []Turn{says("hello")}},
	{Name: "a text is answered while nobody streams", Options: opts(""), Script: []Turn{says("hello")}, Silent: true},
	{
		Name: "a system message and a history are passed on", Script: []Turn{says("fine")},
		Options: raw(`{"messages":[{"role":"system","content":[{"text":"be kind"}]},` + hi + `,{"role":"model","content":[{"text":"hello"}]},{"role":"user","content":[{"text":"how are you?"}]}]}`),
	},
	{
		Name: "a message's media, data and metadata are passed on", Script: []Turn{says("nice")},
		Options: raw(`{"messages":[{"role":"user","content":[{"media":{"url":"data:image/png;base64,AA==","contentType":"image/png"}},{"text":"look","metadata":{"a":1}}],"metadata":{"b":true}}]}`),
	},
	{
		Name: "a system message goes to a model that takes none", Script: []Turn{says("fine")},
		Options:  raw(`{"messages":[{"role":"system","content":[{"text":"be kind"}]},` + hi + `]}`),
		Supports: raw(`{"multiturn":true,"tools":true}`),
	},
	{
		Name: "chunks are numbered", Options: opts(""),
		Script: []Turn{streams(says("hello you"), `{"content":[{"text":"hello "}]}`, `{"content":[{"text":"you"}]}`)},
	},
	{
		Name: "a model's own index and role on a chunk are overwritten", Options: opts(""),
		Script: []Turn{streams(says("hello"), `{"role":"user","index":7,"content":[{"text":"hello"}]}`)},
	},
	{
		Name: "chunks are numbered over tool turns", Options: opts(`"tools":["add"]`),
		Script: []Turn{
			streams(calls(add12), `{"content":[{"text":"let me see"}]}`),
			streams(says("3"), `{"content":[{"text":"3"}]}`),
		},
	},
	{Name: "a tool is called", Options: opts(`"tools":["add"]`), Script: []Turn{calls(add12), says("3")}},
	{
		Name: "a tool is called by a request without a ref", Options: opts(`"tools":["add"]`),
		Script: []Turn{calls(`{"name":"add","input":{"a":1,"b":2}}`), says("3")},
	},
	{
		Name: "a tool with a namespace is shown and called", Options: opts(`"tools":["math/mul"]`),
		Script: []Turn{calls(`{"name":"mul","ref":"r1","input":{"a":2,"b":3}}`), says("6")},
	},
	{
		Name: "two tools run side by side", Options: opts(`"tools":["add","slow"]`),
		Script: []Turn{calls(add12, `{"name":"slow","ref":"r2","input":{}}`), says("done")},
	},
	{Name: "a tool returns an object", Options: opts(`"tools":["greet"]`), Script: []Turn{calls(`{"name":"greet","ref":"r1","input":{"name":"Ada"}}`), says("done")}},
	{
		Name: "answers come in the order of the requests", Options: opts(`"tools":["slow","fast"]`),
		Script: []Turn{calls(`{"name":"slow","ref":"r1","input":{}}`, `{"name":"fast","ref":"r2","input":{}}`), says("done")},
	},
	{
		Name: "several turns of tools", Options: opts(`"tools":["add"]`),
		Script: []Turn{calls(add12), calls(`{"name":"add","ref":"r2","input":{"a":3,"b":4}}`), calls(`{"name":"add","ref":"r3","input":{"a":5,"b":6}}`), says("done")},
	},
	{Name: "a tool returns zero", Options: opts(`"tools":["zero"]`), Script: []Turn{calls(`{"name":"zero","ref":"r1","input":{}}`), says("0")}},
	{Name: "a tool without parameters gets some", Options: opts(`"tools":["zero"]`), Script: []Turn{calls(`{"name":"zero","ref":"r1","input":{"x":1}}`), says("0")}},
	{Name: "a tool without parameters gets no input", Options: opts(`"tools":["zero"]`), Script: []Turn{calls(`{"name":"zero","ref":"r1"}`), says("0")}},
	{Name: "a tool returns nothing", Options: opts(`"tools":["void"]`), Script: []Turn{calls(`{"name":"void","ref":"r1","input":{}}`), says("ok")}},
	{Name: "a tool returns further parts", Options: opts(`"tools":["pic"]`), Script: []Turn{calls(`{"name":"pic","ref":"r1","input":{}}`), says("ok")}},
	{Name: "the turns are used up", Options: opts(`"tools":["add"],"maxTurns":1`), Script: []Turn{calls(add12), calls(`{"name":"add","ref":"r2","input":{"a":3,"b":4}}`)}},
	{Name: "the default of five turns is used up", Options: opts(`"tools":["add"]`), Script: []Turn{calls(add12), calls(add12), calls(add12), calls(add12), calls(add12), calls(add12), calls(add12)}},
	{Name: "no turn is allowed", Options: opts(`"tools":["add"],"maxTurns":0`), Script: []Turn{calls(add12), says("3")}},
	{Name: "a negative number of turns is asked for", Options: opts(`"tools":["add"],"maxTurns":-1`), Script: []Turn{calls(add12), says("3")}},
	{Name: "tool requests are returned", Options: opts(`"tools":["add"],"returnToolRequests":true`), Script: []Turn{calls(add12)}},
	{Name: "the options name an unknown tool", Options: opts(`"tools":["nix"]`), Script: []Turn{says("no")}},
	{Name: "the model asks for an unknown tool", Options: opts(`"tools":["add"]`), Script: []Turn{calls(`{"name":"nix","ref":"r1","input":{}}`)}},
	{Name: "the model asks for a tool that it was not offered", Options: opts(`"tools":["add"]`), Script: []Turn{calls(`{"name":"zero","ref":"r1","input":{}}`), says("0")}},
	{Name: "a tool is named twice", Options: opts(`"tools":["add","add"]`), Script: []Turn{says("ok")}},
	{Name: "a tool fails", Options: opts(`"tools":["fail"]`), Script: []Turn{calls(`{"name":"fail","ref":"r1","input":{}}`), says("oh")}},
	{Name: "a tool fails with a status", Options: opts(`"tools":["denied"]`), Script: []Turn{calls(`{"name":"denied","ref":"r1","input":{}}`), says("oh")}},
	{Name: "a tool's input breaks its schema", Options: opts(`"tools":["add"]`), Script: []Turn{calls(`{"name":"add","ref":"r1","input":{"a":"one","b":2}}`), says("oh")}},
	{Name: "a tool's input is missing", Options: opts(`"tools":["add"]`), Script: []Turn{calls(`{"name":"add","ref":"r1"}`), says("oh")}},
	{Name: "a tool's input has a field too many", Options: opts(`"tools":["add"]`), Script: []Turn{calls(`{"name":"add","ref":"r1","input":{"a":1,"b":2,"c":3}}`), says("3")}},
	{Name: "a tool's output breaks its schema", Options: opts(`"tools":["big"]`), Script: []Turn{calls(`{"name":"big","ref":"r1","input":{"n":11}}`), says("11")}},
	{Name: "a tool interrupts", Options: opts(`"tools":["ask"]`), Script: []Turn{calls(`{"name":"ask","ref":"r1","input":{"q":"sure?"}}`)}},
	{Name: "a tool interrupts without metadata", Options: opts(`"tools":["bare"]`), Script: []Turn{calls(`{"name":"bare","ref":"r1","input":{}}`)}},
	{
		Name: "a tool interrupts beside others", Options: opts(`"tools":["ask","add","zero"]`),
		Script: []Turn{calls(`{"name":"ask","ref":"r1","input":{"q":"sure?"}}`, `{"name":"add","ref":"r2","input":{"a":1,"b":2}}`, `{"name":"zero","ref":"r3","input":{}}`)},
	},
	{
		Name: "an interrupt is answered", Script: []Turn{says("thanks")},
		Options: interrupted(`{"toolRequest":{"name":"ask","ref":"r1","input":{"q":"sure?"}},"metadata":{"interrupt":{"question":"sure?"}}}`,
			`"respond":[{"toolResponse":{"name":"ask","ref":"r1","output":"yes"},"metadata":{"interruptResponse":true}}]`),
	},
	{
		Name: "an interrupt is answered with metadata", Script: []Turn{streams(says("thanks"), `{"content":[{"text":"thanks"}]}`)},
		Options: interrupted(`{"toolRequest":{"name":"ask","ref":"r1","input":{"q":"sure?"}},"metadata":{"interrupt":{"question":"sure?"}}}`,
			`"respond":[{"toolResponse":{"name":"ask","ref":"r1","output":"yes"}}],"metadata":{"by":"Ada"}`),
	},
	{
		Name: "an answer breaks the tool's output schema", Script: []Turn{says("thanks")},
		Options: interrupted(`{"toolRequest":{"name":"ask","ref":"r1","input":{"q":"sure?"}},"metadata":{"interrupt":true}}`,
			`"respond":[{"toolResponse":{"name":"ask","ref":"r1","output":7}}]`),
	},
	{
		Name: "an interrupted tool is restarted", Script: []Turn{says("thanks")},
		Options: interrupted(`{"toolRequest":{"name":"ask","ref":"r1","input":{"q":"sure?"}},"metadata":{"interrupt":{"question":"sure?"}}}`,
			`"restart":[{"toolRequest":{"name":"ask","ref":"r1","input":{"q":"sure?"}},"metadata":{"interrupt":{"question":"sure?"},"resumed":{"ok":true}}}]`),
	},
	{
		Name: "an interrupted tool is restarted with another input", Script: []Turn{says("thanks")},
		Options: interrupted(`{"toolRequest":{"name":"ask","ref":"r1","input":{"q":"sure?"}},"metadata":{"interrupt":{"question":"sure?"}}}`,
			`"restart":[{"toolRequest":{"name":"ask","ref":"r1","input":{"q":"really?"}},"metadata":{"resumed":{"ok":true},"replacedInput":{"q":"sure?"}}}]`),
	},
	{
		Name: "a restarted tool interrupts again", Script: []Turn{says("thanks")},
		Options: interrupted(`{"toolRequest":{"name":"ask","ref":"r1","input":{"q":"twice"}},"metadata":{"interrupt":true}}`,
			`"restart":[{"toolRequest":{"name":"ask","ref":"r1","input":{"q":"twice"}},"metadata":{"resumed":{"ok":true}}}]`),
	},
	{
		Name: "pending outputs are used", Unordered: true, Script: []Turn{says("thanks")},
		Options: interrupted(`{"toolRequest":{"name":"ask","ref":"r1","input":{"q":"sure?"}},"metadata":{"interrupt":true}},{"toolRequest":{"name":"add","ref":"r2","input":{"a":1,"b":2}},"metadata":{"pendingOutput":3,"x":"y"}}`,
			`"respond":[{"toolResponse":{"name":"ask","ref":"r1","output":"yes"}}]`),
	},
	{
		Name: "a falsy pending output is used", Unordered: true, Script: []Turn{says("thanks")},
		Options: interrupted(`{"toolRequest":{"name":"ask","ref":"r1","input":{"q":"sure?"}},"metadata":{"interrupt":true}},{"toolRequest":{"name":"zero","ref":"r2","input":{}},"metadata":{"pendingOutput":0}}`,
			`"respond":[{"toolResponse":{"name":"ask","ref":"r1","output":"yes"}}]`),
	},
	{
		Name: "an interrupt is left unanswered", Script: []Turn{says("thanks")},
		Options: interrupted(`{"toolRequest":{"name":"ask","ref":"r1","input":{"q":"sure?"}},"metadata":{"interrupt":true}}`,
			`"respond":[{"toolResponse":{"name":"ask","ref":"other","output":"yes"}}]`),
	},
	{
		Name: "a resume fits no message", Script: []Turn{says("thanks")},
		Options: opts(`"tools":["ask"],"resume":{"respond":[{"toolResponse":{"name":"ask","ref":"r1","output":"yes"}}]}`),
	},
	{
		Name: "a resume uses up no turn", Script: []Turn{calls(add12), says("3")},
		Options: raw(`{"messages":[` + hi + `,{"role":"model","content":[{"toolRequest":{"name":"ask","ref":"r1","input":{"q":"sure?"}},"metadata":{"interrupt":true}}]}],"tools":["ask","add"],"maxTurns":1,
			"resume":{"respond":[{"toolResponse":{"name":"ask","ref":"r1","output":"yes"}}]}}`),
	},
	{Name: "documents go to a model that takes them", Options: opts(`"docs":[{"content":[{"text":"the sky is blue"}],"metadata":{"ref":"sky"}}]`), Script: []Turn{says("blue")}},
	{
		Name: "documents go to a model that takes none", Options: opts(`"docs":[{"content":[{"text":"the sky is blue"}],"metadata":{"ref":"sky"}},{"content":[{"text":"grass is green"}]}]`),
		Script: []Turn{says("blue")}, Supports: raw(`{"multiturn":true,"systemRole":true,"tools":true}`),
	},
	{Name: "output obeys a schema, natively constrained", Options: opts(`"output":{"format":"json","jsonSchema":` + nSchema + `,"constrained":true}`), Script: []Turn{says(`{"n":1}`)}},
	{Name: "output obeys a schema, constraint unsaid", Options: opts(`"output":{"jsonSchema":` + nSchema + `}`), Script: []Turn{says(`{"n":1}`)}},
	{
		Name: "output obeys a schema on a model that can't be constrained", Options: opts(`"output":{"format":"json","jsonSchema":` + nSchema + `,"constrained":true}`),
		Script: []Turn{says(`{"n":1}`)}, Supports: raw(`{"multiturn":true,"systemRole":true,"tools":true,"context":true}`),
	},
	{Name: "output obeys a schema, not to be constrained", Options: opts(`"output":{"format":"json","jsonSchema":` + nSchema + `,"constrained":false,"instructions":"answer in JSON"}`), Script: []Turn{says(`{"n":1}`)}},
	{Name: "instructions are forced", Options: opts(`"output":{"format":"json","jsonSchema":` + nSchema + `,"constrained":true,"instructions":true}`), Script: []Turn{says(`{"n":1}`)}},
	{Name: "output in a fence is found", Options: opts(`"output":{"format":"json","jsonSchema":` + nSchema + `,"constrained":true}`), Script: []Turn{says("Sure:\n```json\n{\"n\": 1}\n```\n")}},
	{Name: "output breaks the schema", Options: opts(`"output":{"format":"json","jsonSchema":` + nSchema + `,"constrained":true}`), Script: []Turn{says(`{"n":"one"}`)}},
	{Name: "output is no JSON", Options: opts(`"output":{"format":"json","jsonSchema":` + nSchema + `,"constrained":true}`), Script: []Turn{says(`no`)}},
	{Name: "output is JSON without a schema", Options: opts(`"output":{"format":"json"}`), Script: []Turn{says(`{"n":1}`)}},
	{Name: "output is text by name", Options: opts(`"output":{"format":"text"}`), Script: []Turn{says(`hello`)}},
	{
		Name: "output is streamed as JSON", Options: opts(`"output":{"format":"json","jsonSchema":` + nSchema + `,"constrained":true}`),
		Script: []Turn{streams(says(`{"n":1}`), `{"content":[{"text":"{\"n\""}]}`, `{"content":[{"text":":1}"}]}`)},
	},
	{Name: "output obeys a schema after a tool turn", Options: opts(`"tools":["add"],"output":{"format":"json","jsonSchema":` + nSchema + `,"constrained":true}`), Script: []Turn{calls(add12), says(`{"n":3}`)}},
	{Name: "the output format is an array", Options: opts(`"output":{"format":"array","jsonSchema":{"type":"array","items":` + nSchema + `},"constrained":true}`), Script: []Turn{says(`[{"n":1}]`)}},
	{Name: "the output format is unknown", Options: opts(`"output":{"format":"nix"}`), Script: []Turn{says(`hello`)}},
	{Name: "a response is blocked", Options: opts(""), Script: []Turn{{Response: raw(`{"message":{"role":"model","content":[]},"finishReason":"blocked","finishMessage":"unsafe"}`)}}},
	{
		Name: "a response is blocked where JSON was asked", Options: opts(`"output":{"format":"json","jsonSchema":` + nSchema + `,"constrained":true}`),
		Script: []Turn{{Response: raw(`{"message":{"role":"model","content":[{"text":"no"}]},"finishReason":"blocked"}`)}},
	},
	{
		Name: "a response ends for another reason where JSON was asked", Options: opts(`"output":{"format":"json","jsonSchema":` + nSchema + `,"constrained":true}`),
		Script: []Turn{{Response: raw(`{"message":{"role":"model","content":[{"text":"no"}]},"finishReason":"other"}`)}},
	},
	{Name: "a response is cut at its length", Options: opts(""), Script: []Turn{{Response: raw(`{"message":{"role":"model","content":[{"text":"hel"}]},"finishReason":"length"}`)}}},
	{Name: "a response has no message", Options: opts(""), Script: []Turn{{Response: raw(`{"finishReason":"stop"}`)}}},
	{Name: "a response has no content", Options: opts(""), Script: []Turn{{Response: raw(`{"message":{"role":"model","content":[]},"finishReason":"stop"}`)}}},
	{
		Name: "reasoning, data and custom parts come back", Options: opts(""),
		Script: []Turn{{Response: raw(`{"message":{"role":"model","content":[{"reasoning":"hm"},{"text":"hello"},{"data":{"x":1}},{"custom":{"y":2}}]},"finishReason":"stop"}`)}},
	},
	{Name: "config is passed on", Options: opts(`"config":{"temperature":0.5,"own":{"x":[1,2]}}`), Script: []Turn{says("hello")}},
	{Name: "a key in the config is kept out of what is returned", Options: opts(`"config":{"apiKey":"k","temperature":0.5}`), Script: []Turn{says("hello")}},
	{Name: "large numbers keep their digits", Options: opts(`"config":{"seed":12345678901234567890}`), Script: []Turn{says("hello")}},
	{Name: "a tool choice is passed on", Options: opts(`"tools":["add"],"toolChoice":"required"`), Script: []Turn{says("hello")}},
	{Name: "a tool choice goes to a model that takes none", Options: opts(`"tools":["add"],"toolChoice":"required"`), Script: []Turn{says("hello")}, Supports: raw(`{"multiturn":true,"tools":true}`)},
	{Name: "tools go to a model that takes none", Options: opts(`"tools":["add"]`), Script: []Turn{says("hello")}, Supports: raw(`{"multiturn":true}`)},
	{
		Name: "usage and custom come back", Options: opts(""),
		Script: []Turn{{Response: raw(`{"message":{"role":"model","content":[{"text":"hello"}]},"finishReason":"stop","usage":{"inputTokens":3,"outputTokens":1,"totalTokens":4},"custom":{"id":"x"}}`)}},
	},
	{
		Name: "usage is that of the last turn", Options: opts(`"tools":["add"]`),
		Script: []Turn{
			{Response: raw(`{"message":{"role":"model","content":[{"toolRequest":` + add12 + `}]},"finishReason":"stop","usage":{"inputTokens":3,"outputTokens":1}}`)},
			{Response: raw(`{"message":{"role":"model","content":[{"text":"3"}]},"finishReason":"stop","usage":{"inputTokens":5,"outputTokens":2}}`)},
		},
	},
	{Name: "the model fails with a status", Options: opts(""), Script: []Turn{{Status: "RESOURCE_EXHAUSTED", Error: "too many"}}},
	{Name: "the model fails after it streamed", Options: opts(""), Script: []Turn{{Status: "UNAVAILABLE", Error: "gone", Chunks: []json.RawMessage{raw(`{"content":[{"text":"hel"}]}`)}}}},
	{Name: "there is no message", Options: raw(`{"messages":[]}`), Script: []Turn{says("hello")}},
}

// interrupted are options that resume after a model message of these parts.
func interrupted(parts, resume string) json.RawMessage {
	return raw(`{"messages":[` + hi + `,{"role":"model","content":[` + parts + `]}],"tools":["ask","add","zero"],"resume":{` + resume + `}}`)
}
