package engine

import (
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// The types that an application meets, under the names that they have in Genkit Go's
// package ai. docs/migrating.md is the whole table.
type (
	// Part is one piece of a message, such as [content.NewTextPart].
	Part = content.Part
	// Message is one turn of a conversation, such as [content.NewUserTextMessage].
	Message = content.Message
	// Document is a piece of context, such as [content.DocumentFromText].
	Document = content.Document

	// Model answers requests.
	Model = model.Model
	// ModelOptions describe a model and its capabilities.
	ModelOptions = model.Info
	// ModelSupports are a model's capabilities.
	ModelSupports = model.Supports
	// ModelRequest is the input of a model.
	ModelRequest = model.Request
	// ModelResponse is the response of a model or of a generate call.
	ModelResponse = model.Response
	// ModelResponseChunk is a piece of an answer while it is made.
	ModelResponseChunk = model.Chunk
	// ModelStreamCallback receives the chunks of a model; nil when nobody streams.
	ModelStreamCallback = model.Send
	// ModelOperation is work that goes on after the call that began it.
	ModelOperation = model.Operation

	// Tool is a tool, registered or not.
	Tool = tool.Tool
	// ToolRef is an argument of [WithTools]: a [ToolName] or a [Tool].
	ToolRef = tool.Ref
	// ToolName is the name or key of a registered tool, or an expression for those of a
	// provider such as "wasm/default:tool/*".
	ToolName = tool.Name
	// Resource is a resource, registered or not.
	Resource = resource.Resource
	// ResourceRef is an argument of [WithResources]: a [ResourceName] or a [Resource].
	ResourceRef = resource.Ref
	// ResourceName is the name or key of a registered resource.
	ResourceName = resource.Name

	// Embedder turns documents into vectors.
	Embedder = embed.Embedder
	// EmbedderOptions describe an embedder.
	EmbedderOptions = embed.Info
	// EmbedRequest is the input of an embedder.
	EmbedRequest = embed.Request
	// EmbedResponse is the answer of an embedder.
	EmbedResponse = embed.Response
	// Embedding is one vector.
	Embedding = embed.Embedding
	// Retriever finds documents.
	Retriever = retrieve.Retriever
	// RetrieverResponse is the answer of a retriever.
	RetrieverResponse = retrieve.Response
	// Indexer stores documents.
	Indexer = retrieve.Indexer
	// Reranker puts documents in order.
	Reranker = retrieve.Reranker
	// RerankerResponse is the answer of a reranker.
	RerankerResponse = retrieve.RerankResponse
	// Evaluator scores outputs.
	Evaluator = evaluate.Evaluator
	// EvaluatorOptions describe an evaluator.
	EvaluatorOptions = evaluate.Info
	// Example is one test case.
	Example = evaluate.Case
	// EvaluationResult is the scores of one test case.
	EvaluationResult = evaluate.Result
	// Score is one score of a test case.
	Score = evaluate.Score

	// Middleware is an argument of [WithUse]; see [UseName] for one that is registered.
	Middleware = middleware.Middleware
	// Provider is a source of actions that come and go.
	Provider = registry.Provider
	// Plugin brings actions at start-up.
	Plugin = registry.Plugin
)

// Flow is a function of an application that is traced, listed and served.
type Flow[In, Out, Chunk any] = flow.Flow[In, Out, Chunk]

// StreamValue is one step of a streamed call: a chunk, or at the end, with Done set, the
// output and the response.
type StreamValue[Out, Chunk any] struct {
	// Chunk is valid until Done is set.
	Chunk Chunk
	Done  bool
	// Output and Response are valid when Done is set.
	Output   Out
	Response *ModelResponse
}

// ModelStreamValue is one step of a streamed generate call. Its output is the response.
type ModelStreamValue = StreamValue[struct{}, *ModelResponseChunk]

// StreamingFlowValue is one step of a streamed flow.
type StreamingFlowValue[Out, Chunk any] = action.Event[Out, Chunk]
