//go:build peers

// Package retrieval sends the same requests to embedders, retrievers, indexers and
// rerankers of this engine, of Genkit's Go SDK and of Genkit JS.
//
// It owns the table of requests and the list of differences; what Genkit JS does is
// recorded, and compared with JS itself where that is installed. Use:
//
//	go test -tags peers ./retrieval
//	go test -tags peers ./retrieval -update   # where JS is installed
package retrieval

import "encoding/json"

// Case is one request to an action.
type Case struct {
	Action string          `json:"action"`
	In     json.RawMessage `json:"in"`
}

// Observation is the result of a case.
type Observation struct {
	Status string `json:"status"`
	Output any    `json:"output"`
	// Saw is the input of the function.
	Saw []any `json:"saw"`
	// Metadata is the action's.
	Metadata any `json:"metadata"`
	// Message is the error's text; it is shown, not compared.
	Message string `json:"message"`
}

func in(action, request string) Case { return Case{action, json.RawMessage(request)} }

// Cases are run in this order: the store remembers.
var Cases = []Case{
	in("/embedder/test/letters", `{"input":[{"content":[{"text":"aab"}]},{"content":[{"text":"aa"},{"text":""}],"metadata":{"m":1}}]}`),
	in("/embedder/test/letters", `{"input":[]}`),
	in("/embedder/test/letters", `{"input":[{"content":[{"text":"a"}]}],"options":{"by":2}}`),
	in("/embedder/test/letters", `{"input":[{"content":[{"text":"a"}]}],"options":{"by":"x"}}`),
	in("/embedder/test/letters", `{"input":[{"content":[{"text":"a"}]}],"options":null}`),
	in("/embedder/test/letters", `{"input":[{"content":[{"text":"fail"}]}]}`),
	in("/embedder/test/letters", `{"input":{}}`),
	in("/embedder/test/letters", `{}`),

	in("/retriever/test/echo", `{"query":{"content":[{"text":"q"},{"media":{"url":"https://example.com/a.png","contentType":"image/png"}}],"metadata":{"a":[1,null],"b":{"c":"<&>"}}}}`),
	in("/retriever/test/echo", `{"query":{"content":[]},"options":[1,{"x":2}]}`),
	in("/retriever/test/echo", `{"query":{"content":[{"text":"none"}]},"options":null}`),
	in("/retriever/test/echo", `{"query":{"content":[{"text":"q"}]},"more":1}`),
	in("/retriever/test/echo", `{"query":"q"}`),
	in("/retriever/test/echo", `{}`),
	in("/retriever/test/times", `{"query":{"content":[{"text":"q"}]},"options":{"k":2}}`),
	in("/retriever/test/times", `{"query":{"content":[{"text":"q"}]}}`),
	in("/retriever/test/times", `{"query":{"content":[{"text":"q"}]},"options":{"k":"2"}}`),
	in("/retriever/test/times", `{"query":{"content":[{"text":"q"}]},"options":{"k":1,"other":true}}`),
	in("/retriever/test/times", `{"query":{"content":[{"text":"q"}]},"options":null}`),
	in("/retriever/test/fails", `{"query":{"content":[{"text":"q"}]}}`),
	in("/retriever/test/rows", `{"query":{"content":[]}}`),
	in("/retriever/test/all", `{"query":{"content":[]}}`),
	in("/retriever/test/unclear", `{"query":{"content":[]}}`),

	in("/indexer/test/list", `{"documents":[{"content":[{"text":"a"}],"metadata":{"n":1}},{"content":[]}],"options":{"any":1}}`),
	in("/indexer/test/list", `{"documents":[]}`),
	in("/indexer/test/list", `{}`),
	in("/indexer/test/strict", `{"documents":[],"options":{"x":"y"}}`),
	in("/indexer/test/strict", `{"documents":[],"options":{"x":1}}`),
	in("/indexer/test/strict", `{"documents":[]}`),

	in("/reranker/test/last", `{"query":{"content":[{"text":"q"}]},"documents":[{"content":[{"text":"a"}],"metadata":{"m":1,"score":9}},{"content":[{"text":"b"}]}]}`),
	in("/reranker/test/last", `{"query":{"content":[{"text":"q"}]},"documents":[{"content":[{"text":"a"}]},{"content":[{"text":"b"}]}],"options":{"k":1}}`),
	in("/reranker/test/last", `{"query":{"content":[]},"documents":[]}`),
	in("/reranker/test/last", `{"query":{"content":[]},"documents":[],"options":{"k":[]}}`),
	in("/reranker/test/last", `{"query":{"content":[]}}`),

	in("/retriever/devLocalVectorstore/store", `{"query":{"content":[{"text":"none yet"}]}}`),
	in("/indexer/devLocalVectorstore/store", `{"documents":[{"content":[{"text":"aaab"}],"metadata":{"n":1}},{"content":[{"text":"aa"}]},{"content":[{"text":"abb"}]},{"content":[{"text":"cab"}]},{"content":[{"text":"ddd"}]}]}`),
	in("/retriever/devLocalVectorstore/store", `{"query":{"content":[{"text":"a"}]}}`),
	in("/retriever/devLocalVectorstore/store", `{"query":{"content":[{"text":"dc"}]},"options":{"k":2}}`),
	in("/indexer/devLocalVectorstore/store", `{"documents":[{"content":[{"text":"aaab"}],"metadata":{"n":1}},{"content":[{"text":"h"}]}]}`),
	in("/retriever/devLocalVectorstore/store", `{"query":{"content":[{"text":"ah"}]},"options":{"k":4}}`),
	in("/retriever/devLocalVectorstore/store", `{"query":{"content":[{"text":"a"}]},"options":{"k":0}}`),
	in("/retriever/devLocalVectorstore/store", `{"query":{"content":[{"text":"a"}]},"options":{"k":"1"}}`),
	in("/retriever/devLocalVectorstore/store", `{"query":{"content":[{"text":"a"}]},"options":{"k":2,"other":1}}`),
	in("/retriever/devLocalVectorstore/store", `{"query":{"content":[{"text":"fail"}]}}`),
}
