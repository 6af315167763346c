//go:build peers

package talk

import "regexp"

// Difference is one way in which a peer behaves otherwise than this engine, on
// purpose or not yet mended. The patterns say which atoms it explains; an empty one
// fits everything.
type Difference struct {
	// Name names it in testdata/differs.json and in docs/differences.md.
	Name string
	// In is the conversations that it shows in.
	In string
	// Path, Ours and Theirs fit the whole of an atom's fields.
	Path, Ours, Theirs string
	// We and They say what each does.
	We, They string
	// Why justifies ours; Open marks what is to be mended instead.
	Why  string
	Open bool
	// Where is the statement in this repository that says so: a file and a piece of
	// its text, which the test looks for.
	File, Text string
}

// fits reports whether d explains an atom of a conversation.
func (d *Difference) fits(conversation string, a Atom) bool {
	return full(d.In, conversation) && full(d.Path, a.Path) && full(d.Ours, a.Ours) && full(d.Theirs, a.Theirs)
}

func full(pattern, s string) bool {
	return pattern == "" || regexp.MustCompile(`(?s)^(?:`+pattern+`)$`).MatchString(s)
}

// Explain returns the name of the first difference of the list that explains an
// atom, "" when none does.
func Explain(list []Difference, conversation string, a Atom) string {
	for i := range list {
		if list[i].fits(conversation, a) {
			return list[i].Name
		}
	}
	return ""
}

// outcome is the list of fields that differ together when one engine goes on where the
// other stops.
const outcome = `status|response|output|(requests|chunks|runs)\[\d+\]`

// request is a model request, in the log or in the response.
const request = `(requests\[\d+\]|response\.request)`

// The statement behind most differences to the Go SDK.
const (
	loopFile = "engine/generate/generate.go"
	jsText   = "The behaviour follows Genkit JS"
)

// FromGo are the differences to Genkit's Go SDK.
var FromGo = []Difference{
	{
		Name: "repeated-refs", Path: request + `\.messages\[\d+\]\.content\[\d+\]\.(toolRequest|toolResponse)\.ref`, Ours: `".*_\d+"`, Theirs: `".*"`,
		We: "tell the refs of a conversation apart in what goes to a model, where one comes again in a later turn", They: "sends them as they are, which Anthropic refuses",
		Why: "servers without ids of their own count anew in each answer", File: "engine/model/refs.go", Text: "servers without ids give the same refs in every answer",
	},
	{
		Name: "empty-tools", Path: `requests\[\d+\]\.tools`, Ours: `\[\]`, Theirs: Absent,
		We: "send an empty list when there are no tools", They: "leaves it out", Why: "as Genkit JS", File: "engine/generate/tools.go", Text: "sends an empty list",
	},
	{
		Name: "tool-metadata", Path: request + `\.tools\[\d+\]\.metadata(\.multipart)?`, Theirs: `\{"multipart":(true|false)\}|true|false`,
		We: "put nothing into a tool's metadata", They: "notes `multipart`", Why: "as Genkit JS", File: "engine/tool/tool.go", Text: "Definition returns a as a model sees it",
	},
	{
		Name: "tool-keys", Path: request + `\.tools\[\d+\]\.key`, Theirs: Absent,
		We: "set `key` in a tool's definition where its name does not tell it", They: "never sets it", Why: "as Genkit JS, which sets it in each (see there)", File: "engine/tool/tool.go", Text: "The key is set where the name",
	},
	{
		Name: "response-request", Path: `response\.request`, Theirs: Absent,
		We: "return the request with the response", They: "leaves it to the model", Why: "as Genkit JS", File: loopFile, Text: "with Request set to the last request of the model",
	},
	{
		Name: "response-custom", Path: `response\.custom`, Ours: `\{\}`, Theirs: Absent,
		We: "return `custom: {}`", They: "leaves it out", Why: "as Genkit JS", File: loopFile, Text: jsText,
	},
	{
		Name: "latency", Path: `response\.latencyMs`, Ours: Absent,
		We: "return no `latencyMs`", They: "measures it", Why: "as Genkit JS; spans tell it", File: loopFile, Text: "wire returns the wire form of a response, as Genkit has it",
	},
	{
		Name: "usage-counts", Path: `response\.usage(\..*)?`,
		We: "pass the model's usage on", They: "adds counts of characters and media", Why: "as Genkit JS, where the model does it", File: "engine/model/usage.go", Text: "On the wire a count keeps the digits that its",
	},
	{
		Name: "envelope-schema", In: "a tool returns nothing|a tool returns further parts", Path: request + `\.tools\[\d+\]\.outputSchema\..*`,
		We: "send `{$schema}` for a plain tool without an output schema, and for a multipart one the envelope without what parts are", They: "sends its own envelope {output, content, metadata} for both, with what parts are", Why: "as Genkit JS for plain tools: they have no envelope", File: "engine/tool/tool.go", Text: "tests/specs/generate.yaml",
	},
	{
		Name: "output-stamp", Path: `response\.message\.metadata`, Ours: `\{"generate":.*`, Theirs: Absent,
		We: "note `metadata.generate.output` on the message", They: "does not", Why: "as Genkit JS", File: "engine/generate/plan.go", Text: "Genkit: metadata.generate.output",
	},
	{
		Name: "empty-content", Path: `response\.message\.content`, Ours: `\[\]`, Theirs: Absent,
		We: "return `content: []` of an empty message", They: "leaves it out", Why: "as Genkit JS", File: loopFile, Text: jsText,
	},
	{
		Name: "empty-metadata", Path: `requests\[\d+\]\.messages\[\d+\]\.content\[\d+\]\.metadata`, Ours: `\{\}`, Theirs: Absent,
		We: "leave an empty object where a part's metadata is used up", They: "leaves it out", Why: "as Genkit JS", File: loopFile, Text: jsText,
	},
	{
		Name: "chunk-role", In: "a model's own index and role on a chunk are overwritten", Path: `chunks\[\d+\]\.(index|role)`,
		We: "overwrite the role and the index that a model puts on a chunk", They: "takes the role over", Why: "as Genkit JS", File: "engine/generate/stream.go", Text: "Genkit JS: makeChunk",
	},
	{
		Name: "chunk-index", Path: `chunks\[\d+\]\.index`,
		We: "raise the index when the role changes after something was streamed", They: "raises it at each tool message, streamed before or not", Why: "as Genkit JS", File: "engine/generate/stream.go", Text: "the index grows when the role changes",
	},
	{
		Name: "refs", Path: `.*\.ref`, Ours: `"call_.*`,
		We: "give a request without a ref one that is the same each time", They: "gives it a random UUID", Why: "replays and tests stay the same", File: "engine/generate/loop.go", Text: "withRefs returns m with a ref on each tool request",
	},
	{
		Name: "request-order", In: "answers come in the order of the requests", Path: `(chunks\[\d+\]|` + request + `\.messages\[\d+\])\.content\[\d+\]\.toolResponse\..*`,
		We: "keep the order of the requests", They: "keeps the order in which tools end", Why: "the next request is the same each time; Genkit JS 1.42 behaves like the Go SDK here", File: "engine/generate/execute.go", Text: "responses are in the order of the requests",
	},
	{
		Name: "null-output", In: "a tool returns nothing", Path: `.*\.toolResponse\.output`, Ours: "null", Theirs: Absent,
		We: "send `output: null` for a tool that returns nothing", They: "leaves it out", Why: "as Genkit JS", File: "engine/action/action.go", Text: `json.RawMessage("null")`,
	},
	{
		Name: "short-tool-names", In: "a tool with a namespace is shown and called", Path: outcome + `|.*\.(name|originalName)`,
		We: "show `math/mul` to the model as `mul`, with the full name in `metadata.originalName`", They: "shows `math/mul`, which some providers refuse, and does not find `mul`",
		Why: "as Genkit JS", File: "engine/tool/tool.go", Text: "under its short name, with the full",
	},
	{
		Name: "system-role-unsupported", In: "a system message goes to a model that takes none", Path: `requests\[\d+\]\.messages\..*|requests\[\d+\]\.messages\[.*`,
		We: "pass the system message on", They: "rewrites it into a user message and an answer, \"Understood.\"", Why: "as Genkit JS, where the model's own `use` may do it", File: loopFile, Text: jsText,
	},
	{
		Name: "no-turns", In: "no turn is allowed", Path: outcome,
		We: "let `maxTurns: 0` forbid tools (ABORTED)", They: "reads 0 as the default of 5", Why: "as Genkit JS", File: "engine/generate/loop.go", Text: "a whole number from 0 to",
	},
	{
		Name: "offered-tools-only", In: "the model asks for a tool that it was not offered", Path: outcome,
		We: "run only tools that the call offers (NOT_FOUND)", They: "runs any registered tool that the model names", Why: "as Genkit JS; a prompt could otherwise reach tools that the caller left out", File: "engine/generate/tools.go", Text: "find returns the tool that a model asks for by the name it was shown",
	},
	{
		Name: "same-tool-twice", In: "a tool is named twice", Path: outcome,
		We: "offer it once", They: "fails with INVALID_ARGUMENT", Why: "nothing is ambiguous about it", File: "engine/generate/tools.go", Text: "A tool that is named twice counts once",
	},
	{
		Name: "tool-status-kept", In: "a tool fails with a status|a tool's input .*|a tool without parameters gets .*", Path: "status", Theirs: `"INTERNAL"`,
		We: "keep the status of a tool's failure, INVALID_ARGUMENT for an input that breaks the schema", They: "turns every failure of a tool into INTERNAL", Why: "as Genkit JS", File: "RATIONALE.md", Text: "with the code kept",
	},
	{
		Name: "tool-output-checked", In: "a tool's output breaks its schema", Path: outcome,
		We: "check a tool's output against its schema (INTERNAL)", They: "never applies it", Why: "as Genkit JS, but for the status (see there)", File: "engine/action/action.go", Text: "the output is validated",
	},
	{
		Name: "blocked-is-an-error", In: "a response is blocked.*", Path: outcome,
		We: "fail with FAILED_PRECONDITION", They: "returns the response, or fails to parse it", Why: "as Genkit JS", File: loopFile, Text: "FAILED_PRECONDITION for a blocked or empty response",
	},
	{
		Name: "missing-message-is-an-error", In: "a response has no message", Path: outcome,
		We: "fail with FAILED_PRECONDITION", They: "returns the response", Why: "as Genkit JS", File: loopFile, Text: "FAILED_PRECONDITION for a blocked or empty response",
	},
	{
		Name: "invalid-output-status", In: "output breaks the schema|output is no JSON", Path: "status", Ours: `"INVALID_ARGUMENT"`, Theirs: `"INTERNAL"`,
		We: "fail with INVALID_ARGUMENT", They: "fails with INTERNAL", Why: "as Genkit JS", File: loopFile, Text: "an output that breaks the asked",
	},
	{
		Name: "unfinished-output", In: "a response ends for another reason where JSON was asked", Path: outcome,
		We: "return what ends as `other` without parsing it", They: "fails to parse it (INTERNAL)", Why: "later Go SDKs skip parsing too (firebase/genkit #6029): the finish reason says more than a parse error", File: "engine/generate/plan.go", Text: "did not finish is returned as it is",
	},
	{
		Name: "array-instructions", In: "the output format is an array", Path: request + `\.messages\[\d+\]\.content\[1\]`, Theirs: Absent,
		We: "tell the model about the array in the prompt although it is constrained", They: "leaves the instructions out where the model is constrained", Why: "as Genkit JS, word for word", File: "engine/format/array.go", Text: "word for word",
	},
	{
		Name: "boolean-instructions", In: "instructions are forced", Path: outcome,
		We: "take `output.instructions: true`", They: "can't read it: only strings", Why: "as Genkit JS", File: "engine/generate/schema.go", Text: `"instructions": {"type": ["boolean", "string"]}`,
	},
	{
		Name: "constrained-default", In: "output obeys a schema, constraint unsaid",
		Path: request + `\.(output\.(constrained|schema)|messages\[\d+\]\.content\[1\])`,
		We:   "constrain by default where the model can", They: "puts instructions into the prompt unless the options say `constrained: true`", Why: "as Genkit JS", File: "engine/format/json.go", Text: "Constrained: true",
	},
	{
		Name: "instruction-text", Path: request + `\.messages\[\d+\]\.content\[\d+\]\.text`, Ours: `".*` + "```" + `.*`,
		We: "fence the schema as Genkit JS does", They: "has another text without line breaks", Why: "as Genkit JS, word for word", File: "engine/format/json.go", Text: "word for word",
	},
	{
		Name: "unconstrained-output", Path: request + `\.output\.(constrained|schema)`,
		We: "say `constrained` as it was asked and keep the schema when the caller asks not to constrain", They: "leaves both out", Why: "as Genkit JS", File: loopFile, Text: jsText,
	},
	{
		Name: "json-part", In: "output in a fence is found", Path: `response\.message\.content\[\d+\]\.text`,
		We: "leave the model's text as it came; the value is `Response.Output`", They: "replaces the text by the JSON found in it", Why: "as Genkit JS", File: "engine/model/wire.go", Text: "Parsed is the message as the asked format reads it",
	},
	{
		Name: "resume-keeps-turns", In: "a resume uses up no turn", Path: outcome,
		We: "count no turn for a resume", They: "counts one", Why: "as Genkit JS", File: "engine/generate/resume.go", Text: "It uses up no turn",
	},
	{
		Name: "pending-metadata", Path: `.*\.content\[\d+\]\.metadata\.x`, In: "pending outputs are used",
		We: "keep the request's metadata on the answer it was pending for", They: "keeps `source` only", Why: "as Genkit JS", File: loopFile, Text: jsText,
	},
	{
		Name: "digits", In: "large numbers keep their digits", Path: `.*config\.seed`,
		We: "keep the digits", They: "reads numbers as float64", Why: "what goes in goes out", File: "RATIONALE.md", Text: "Why is JSON passed as raw bytes instead of maps?",
	},
	{
		Name: "capabilities", In: "tools go to a model that takes none|a tool choice goes to a model that takes none", Path: outcome,
		We: "warn when the model does not declare tools or tool choice, and ask it all the same", They: "fails with INVALID_ARGUMENT",
		Why: "as Genkit JS", File: "engine/generate/plan.go", Text: "Genkit JS asks it all the same",
	},
	{
		Name: "text-format-name", In: "output is text by name", Path: request + `\.output\.format`,
		We: "send `format: text` when it was asked for", They: "leaves it out", Why: "as Genkit JS", File: loopFile, Text: jsText,
	},
	{
		Name: "simulated-output", In: "output obeys a schema on a model that can't be constrained", Path: `requests\[\d+\]\.output\.(format|contentType)`, Ours: Absent,
		We: "take format and content type out of the request when the prompt asks for the schema instead", They: "leaves them in", Why: "as Genkit JS", File: "engine/format/instructions.go", Text: "schema goes into the messages as instructions and leaves the output",
	},
	{
		Name: "no-message", In: "there is no message", Path: outcome,
		We: "refuse a call without a message (INVALID_ARGUMENT)", They: "asks the model", Why: "as Genkit JS's own generate()", File: loopFile, Text: "at least one message is required",
	},
	{
		Name: "data-parts", In: "reasoning, data and custom parts come back", Path: outcome,
		We: "take any JSON value as a part's `data`", They: "takes strings only", Why: "as Genkit JS", File: "engine/content/make.go", Text: "NewDataPart returns a part that holds any JSON value",
	},
	{
		Name: "absent-input", In: "a tool without parameters gets no input", Path: outcome + `|error.*|message|details.*`,
		We: "run a tool whose schema takes `{}` and not null with `{}` when a request has no input, or null", They: "fails with INVALID_ARGUMENT", Why: "models leave the input out of such calls", File: "engine/action/action.go", Text: "absent is what stands for no input, and for null",
	},
}

// FromJS are the differences to Genkit JS.
var FromJS = []Difference{
	{
		Name: "repeated-refs", Path: request + `\.messages\[\d+\]\.content\[\d+\]\.(toolRequest|toolResponse)\.ref`, Ours: `".*_\d+"`, Theirs: `".*"`,
		We: "tell the refs of a conversation apart in what goes to a model, where one comes again in a later turn", They: "sends them as they are, which Anthropic refuses",
		Why: "servers without ids of their own count anew in each answer", File: "engine/model/refs.go", Text: "servers without ids give the same refs in every answer",
	},
	{
		Name: "negative-turns", In: "a negative number of turns is asked for", Path: outcome,
		We: "refuse it at once (INVALID_ARGUMENT)", They: "asks the model and gives up at its first tool request (ABORTED)", Why: "as the Go SDK: a mistake is told before it costs a model call", File: loopFile, Text: "INVALID_ARGUMENT for options that make no sense",
	},
	{
		Name: "unknown-tool-status", In: "the options name an unknown tool", Path: "status",
		We: "fail with NOT_FOUND", They: "throws an error without a status", Why: "as the Go SDK", File: loopFile, Text: "NOT_FOUND for a model, tool, resource or",
	},
	{
		Name: "same-tool-twice", In: "a tool is named twice", Path: outcome,
		We: "offer it once", They: "fails with INVALID_ARGUMENT", Why: "nothing is ambiguous about it", File: "engine/generate/tools.go", Text: "A tool that is named twice counts once",
	},
	{
		Name: "tool-output-status", In: "a tool's output breaks its schema", Path: "status",
		We: "fail with INTERNAL", They: "fails with INVALID_ARGUMENT", Why: "the caller did nothing wrong", File: "engine/action/action.go", Text: "status.Internal, \"output from\"",
	},
	{
		Name: "second-interrupt", In: "a restarted tool interrupts again", Path: "status",
		We: "fail with FAILED_PRECONDITION", They: "means to, and fails with a TypeError (1.42)", Why: "as Genkit JS means it and the Go SDK does", File: "engine/generate/resume.go", Text: "triggered an interrupt during a restarted execution",
	},
	{
		Name: "falsy-pending", In: "a falsy pending output is used", Path: outcome,
		We: "use a pending output of 0, false, \"\" or null", They: "takes it for missing (INVALID_ARGUMENT)", Why: "as the Go SDK: the tool did run", File: "engine/generate/resume.go", Text: "falsy ones",
	},
	{
		Name: "unknown-format", In: "the output format is unknown", Path: outcome,
		We: "fail with INVALID_ARGUMENT", They: "ignores it", Why: "as the Go SDK: a typing mistake is told", File: "engine/format/format.go", Text: "Lookup",
	},
	{
		Name: "unfinished-output", In: "a response ends for another reason where JSON was asked", Path: outcome,
		We: "return what ends as `other` without parsing it", They: "fails to parse it (INVALID_ARGUMENT)", Why: "later Go SDKs skip parsing too (firebase/genkit #6029): the finish reason says more than a parse error", File: "engine/generate/plan.go", Text: "did not finish is returned as it is",
	},
	{
		Name: "request-order", In: "answers come in the order of the requests", Path: `(chunks\[\d+\]|` + request + `\.messages\[\d+\])\.content\[\d+\]\.toolResponse\..*`,
		We: "keep the order of the requests", They: "keeps the order in which tools end", Why: "the next request is the same each time; later Go SDKs do it too", File: "engine/generate/execute.go", Text: "responses are in the order of the requests",
	},
	{
		Name: "refs", Path: `.*\.ref`, Ours: `"call_.*`, Theirs: Absent,
		We: "give a request without a ref one that is the same each time", They: "leaves it out", Why: "as the Go SDK: two requests of one tool must be told apart", File: "engine/generate/loop.go", Text: "withRefs returns m with a ref on each tool request",
	},
	{
		Name: "context-in-response", In: "documents go to a model that takes none", Path: `response\.request\.messages\[\d+\]\.content\[\d+\]`,
		We: "return the request as it was before the documents were put into it", They: "changes the caller's message in place", Why: "what the caller gave is not changed", File: "engine/middleware/serve.go", Text: "req is not changed",
	},
	{
		Name: "stamp-on-tool-turns", Path: request + `\.messages\[\d+\]\.metadata`, Ours: Absent, Theirs: `\{"generate":.*`,
		We: "note `metadata.generate.output` on the final message only", They: "notes it on each message of the model", Why: "a tool request is no output", File: "engine/generate/plan.go", Text: "of the final message",
	},
	{
		Name: "key-hidden", In: "a key in the config is kept out of what is returned", Path: `response\.request\.config.*`,
		We: "leave `config.apiKey` out of the request that is returned", They: "returns it", Why: "whoever reads the response must not have it", File: "engine/model/secret.go", Text: "WithoutSecrets returns r with a config that holds none",
	},
	{
		Name: "digits", In: "large numbers keep their digits", Path: `.*config\.seed`,
		We: "keep the digits", They: "reads numbers as float64", Why: "what goes in goes out", File: "RATIONALE.md", Text: "Why is JSON passed as raw bytes instead of maps?",
	},
	{
		Name: "envelope-schema", In: "a tool returns further parts", Path: request + `\.tools\[\d+\]\.outputSchema\.properties\.(content\.items|metadata)\..*`,
		We: "say of the parts in a multipart tool's answer that they are objects", They: "spells out each kind of part", Why: "the parts are read, and so checked, by the loop; a model needs no schema of them", File: "engine/action/multipart.go", Text: `"items":{"type":"object"}`,
	},
	{
		Name: "tool-keys", Path: request + `\.tools\[\d+\]\.key`, Ours: Absent,
		We: "set `key` in a tool's definition where its name does not tell it (shortened names, multipart tools, tools of a provider)", They: "sets it in each", Why: "tests/specs/generate.yaml of Genkit wants a plain tool without one", File: "engine/tool/tool.go", Text: "The key is set where the name",
	},
	{
		Name: "answer-checked", In: "an answer breaks the tool's output schema", Path: outcome,
		We: "hold the answer to an interrupt to the tool's output schema wherever it comes from (INVALID_ARGUMENT)", They: "checks it where the answer is built, in respond(), and not at /util/generate", Why: "as the Go SDK: the answer comes over the wire from whoever asked the user", File: "engine/generate/answers.go", Text: "checkResponse validates the caller's answer against the schema of the tool's output",
	},
	{
		Name: "no-message", In: "there is no message", Path: outcome,
		We: "refuse a call without a message at every door (INVALID_ARGUMENT)", They: "refuses it in generate(), and asks the model at /util/generate", Why: "no model answers nothing", File: loopFile, Text: "at least one message is required",
	},
	{
		Name: "absent-input", In: "a tool without parameters gets no input", Path: outcome + `|error.*|message|details.*`,
		We: "run a tool whose schema takes `{}` and not null with `{}` when a request has no input, or null", They: "fails with INVALID_ARGUMENT", Why: "models leave the input out of such calls", File: "engine/action/action.go", Text: "absent is what stands for no input, and for null",
	},
}
