package server

import "net/http"

// afterModule are the operations that can follow one whose answer has a module.
var afterModule = links{}.with(map[string]string{"tenant": "$response.body#/tenant", "name": "$response.body#/name"},
	"getModule", "deleteModule", "listVersions", "rollbackModule")

// The document's text for each route.
var (
	docListModules = operation{
		id: "listModules", tag: "modules", summary: "List a tenant's modules",
		list: "modules", params: []string{"pageLimit", "cursor"},
		responses: map[int]answerDoc{http.StatusOK: {text: "The current record of each module, by name.", content: jsonOf("ModuleList"), links: links{"getModule": {"tenant": "$request.path.tenant", "name": "$response.body#/modules/0/name"}}}},
		failures:  []int{400, 403, 404, 429, 503},
	}
	docPutModule = operation{
		id: "putModule", tag: "modules", summary: "Upload a module or a script",
		text: "A script is TypeScript or JavaScript, by its media type; a script of several files is a tar, a tar.gz or a zip. The module is checked, compiled and stored before it takes the place of the one of its name; when anything fails, the old one keeps serving. " +
			"409 when its descriptor's name and version are those of an earlier revision with other bytes. " +
			"A body that ends before its announced length changes nothing. With If-None-Match: * it is stored only where there is no module of its name.",
		params: []string{"ifMatch", "ifNoneMatch"},
		request: map[string]any{
			"application/wasm": ref("Bytes"), "application/octet-stream": ref("Bytes"), formType: ref("UploadForm"),
			"text/typescript": ref("Text"), "application/typescript": ref("Text"), "text/javascript": ref("Text"), "application/javascript": ref("Text"),
			"application/x-tar": ref("Bytes"), "application/gzip": ref("Bytes"), "application/x-gzip": ref("Bytes"), "application/zip": ref("Bytes"),
		},
		responses: map[int]answerDoc{
			http.StatusCreated: {text: "A new revision is being served.", content: jsonOf("Module"), headers: []string{"ETag", "Location"}, links: afterModule},
			http.StatusOK:      {text: "The upload changes nothing; this revision was and is being served.", content: jsonOf("Module"), headers: []string{"ETag"}, links: afterModule},
		},
		failures: []int{400, 403, 404, 408, 409, 412, 413, 415, 429, 501, 503, 504},
	}
	docGetModule = operation{
		id: "getModule", tag: "modules", summary: "Get a module's current record",
		params: []string{"ifNoneMatch"},
		responses: map[int]answerDoc{
			http.StatusOK:          {text: "The record.", content: jsonOf("Module"), headers: []string{"ETag"}},
			http.StatusNotModified: {text: "It is the one that If-None-Match names.", headers: []string{"ETag"}},
		},
		failures: []int{403, 404, 503},
	}
	docDeleteModule = operation{
		id: "deleteModule", tag: "modules", summary: "Remove a module and all its revisions",
		params:    []string{"ifMatch"},
		responses: map[int]answerDoc{http.StatusNoContent: {text: "The module is removed. Calls under way run to their end."}},
		failures:  []int{403, 404, 412, 503},
	}
	docListVersions = operation{
		id: "listVersions", tag: "modules", summary: "List a module's revisions",
		list: "versions", params: []string{"pageLimit", "cursor"},
		responses: map[int]answerDoc{http.StatusOK: {text: "Every revision, newest first.", content: jsonOf("VersionList")}},
		failures:  []int{400, 403, 404, 429, 503},
	}
	docRollback = operation{
		id: "rollbackModule", tag: "modules", summary: "Serve an earlier revision again",
		text:     "Without a body, or without a revision in it, that is the one before the current.",
		params:   []string{"ifMatch"},
		request:  jsonOf("Rollback"),
		optional: true,
		responses: map[int]answerDoc{
			http.StatusOK: {text: "The record that is being served now.", content: jsonOf("Module"), headers: []string{"ETag"}},
		},
		failures: []int{400, 403, 404, 408, 409, 412, 413, 415, 503},
	}
	docGetUsage = operation{
		id: "getUsage", tag: "modules", summary: "Get what a tenant takes and has taken",
		text:      "What its calls hold now, what they may, and the sums since the server began, for the tenant and each of its modules.",
		responses: map[int]answerDoc{http.StatusOK: {text: "The sums.", content: jsonOf("Usage")}},
		failures:  []int{403, 404},
	}
	docListActions = operation{
		id: "listActions", tag: "actions", summary: "List what a tenant can run",
		list: "actions", params: []string{"type", "pageLimit", "cursor"},
		responses: map[int]answerDoc{http.StatusOK: {text: "The actions, by key.", content: jsonOf("ActionList")}},
		failures:  []int{400, 403, 404, 429, 503},
	}
	docRunTool = operation{
		id: "runTool", tag: "actions", summary: "Run a tool",
		text:      "The tool's name may contain slashes. A bare name means the one tool that ends in it; 400 when there are several.",
		params:    []string{"stream", "heartbeat"},
		request:   jsonOf("ToolCall"),
		optional:  true,
		responses: map[int]answerDoc{http.StatusOK: {text: "What the tool returned, or what it stopped to ask.", content: streamed("ToolAnswer"), headers: rateHeaders}},
		failures:  runFailures,
	}
	docRunAction = operation{
		id: "runAction", tag: "actions", summary: "Run an action of a module that is no tool",
		text: "The path ends in the action's key: embedder, evaluator, retriever, indexer, reranker, resource, prompt or executable-prompt, the module, and the name. " +
			"Input and result are Genkit's of the kind. Models are asked by generate.",
		params:    []string{"stream", "heartbeat"},
		request:   jsonOf("ToolCall"),
		optional:  true,
		responses: map[int]answerDoc{http.StatusOK: {text: "What the action returned.", content: streamed("ToolAnswer"), headers: rateHeaders}},
		failures:  runFailures,
	}
	docGenerate = operation{
		id: "generate", tag: "actions", summary: "Ask a model, with tools",
		params:    []string{"stream", "heartbeat"},
		request:   jsonOf("GenerateActionOptions"),
		responses: map[int]answerDoc{http.StatusOK: {text: "Genkit's GenerateResponse.", content: streamed("GenerateResponse"), headers: rateHeaders}},
		failures:  runFailures,
	}
	docRunFlow = operation{
		id: "runFlow", tag: "actions", summary: "Run a flow",
		text: "Genkit's flow protocol, as its clients speak it. A stream has begun once the request is accepted: a later error of the flow is its last frame.  " +
			"Where the server keeps streams, a flow runs on when its reader leaves.",
		params:   []string{"stream", "streamID"},
		request:  jsonOf("FlowCall"),
		optional: true,
		responses: map[int]answerDoc{
			http.StatusOK:        {text: "What the flow returned.", content: streamed("FlowAnswer"), headers: append([]string{"X-Genkit-Stream-Id"}, rateHeaders...)},
			http.StatusNoContent: {text: "There is no such stream: it never was, is kept no longer, or is another caller's."},
		},
		failures: runFailures, plain: true,
	}
	docIndex = operation{
		id: "getIndex", tag: "server", summary: "Find your way",
		responses: map[int]answerDoc{http.StatusOK: {text: "Links to what is here; a page where the request accepts text/html.", content: jsonOf("Object")}},
		failures:  []int{403},
	}
	docOpenAPI = operation{
		id: "getOpenAPI", tag: "server", summary: "Get this document",
		responses: map[int]answerDoc{http.StatusOK: {text: "An OpenAPI 3.1 document.", content: jsonOf("Object")}},
		failures:  []int{403},
	}
	docTypes = operation{
		id: "getScriptTypes", tag: "server", summary: "Get the types of what scripts find",
		text:      "A file of declarations for TypeScript, which editors and tsc read.",
		responses: map[int]answerDoc{http.StatusOK: {text: "The declarations.", content: map[string]any{"text/plain": map[string]any{"type": "string"}}}},
		failures:  []int{403},
	}
	docHealth = operation{
		id: "getHealth", tag: "server", summary: "Is the process alive?",
		responses: map[int]answerDoc{http.StatusOK: {text: "It is.", content: jsonOf("Health")}},
		failures:  []int{403},
	}
	docMetrics = operation{
		id: "getMetrics", tag: "server", summary: "Get the metrics",
		text:      "In Prometheus' text format, or in OpenMetrics' where the request accepts it.",
		responses: map[int]answerDoc{http.StatusOK: {text: "The metrics.", content: map[string]any{"text/plain": map[string]any{"type": "string"}}}},
		failures:  []int{401, 403, 503},
	}
	docReady = operation{
		id: "getReadiness", tag: "server", summary: "Should requests be sent here?",
		text:      "Not while the server starts or drains.",
		responses: map[int]answerDoc{http.StatusOK: {text: "They should.", content: jsonOf("Health")}},
		failures:  []int{403, 503},
	}
)

// runFailures are the statuses of whatever runs something: those of the request,
// and those that an action may fail with.
var runFailures = []int{400, 401, 403, 404, 408, 409, 413, 415, 429, 501, 503, 504}
