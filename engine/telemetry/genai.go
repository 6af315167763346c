package telemetry

import (
	"context"
	"encoding/json"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Names of OpenTelemetry's conventions for generative AI, which are still in
// development there: these are those of semantic-conventions 1.40.
const (
	attrGenAIOperation = "gen_ai.operation.name"
	attrGenAIProvider  = "gen_ai.provider.name"
	attrGenAIModel     = "gen_ai.request.model"
	attrGenAITool      = "gen_ai.tool.name"
	attrGenAIToolType  = "gen_ai.tool.type"
	attrGenAIAgent     = "gen_ai.agent.name"
	attrGenAIInput     = "gen_ai.usage.input_tokens"
	attrGenAIOutput    = "gen_ai.usage.output_tokens"
	attrGenAIFinish    = "gen_ai.response.finish_reasons"
	attrGenAITokenType = "gen_ai.token.type"
)

// Operations that the conventions name.
const (
	opChat       = "chat"
	opEmbeddings = "embeddings"
	opTool       = "execute_tool"
	opAgent      = "invoke_agent"
)

// genAI holds the attributes of a span by the conventions; its zero value is a span of which they
// say nothing.
type genAI struct {
	operation string
	provider  string // of a model
	name      string // of the model, tool or agent
}

func genAIOf(s Span) genAI {
	switch s.Subtype {
	case "model", "background-model":
		return modelUse(opChat, s.Name)
	case "embedder":
		return modelUse(opEmbeddings, s.Name)
	case "tool", "tool.v2":
		return genAI{operation: opTool, name: s.Name}
	case "agent":
		return genAI{operation: opAgent, name: s.Name}
	}
	return genAI{}
}

// measured reports whether the conventions name a histogram for it.
func (g genAI) measured() bool { return g.operation != "" && g.operation != opAgent }

func modelUse(operation, name string) genAI {
	provider, model, found := strings.Cut(name, "/")
	if !found {
		provider, model = "", name
	}
	return genAI{operation: operation, provider: provider, name: model}
}

func (g genAI) attributes() []attribute.KeyValue {
	switch g.operation {
	case "":
		return nil
	case opTool:
		return []attribute.KeyValue{
			attribute.String(attrGenAIOperation, opTool), attribute.String(attrGenAITool, g.name), attribute.String(attrGenAIToolType, "function"),
		}
	case opAgent:
		return []attribute.KeyValue{attribute.String(attrGenAIOperation, opAgent), attribute.String(attrGenAIAgent, g.name)}
	}
	attrs := []attribute.KeyValue{attribute.String(attrGenAIOperation, g.operation), attribute.String(attrGenAIModel, g.name)}
	if g.provider != "" {
		attrs = append(attrs, attribute.String(attrGenAIProvider, g.provider))
	}
	return attrs
}

// Answer holds the facts that a model reports with its answer.
type Answer struct {
	FinishReason string
	InputTokens  json.Number // empty when it was not told
	OutputTokens json.Number
}

// Answered records the usage of an answer of the model of that name: on the span of ctx,
// which is the model's, and in its meter.
func Answered(ctx context.Context, model string, a Answer) {
	span := trace.SpanFromContext(ctx)
	m, _ := ctx.Value(meterKey).(*Meter)
	if m == nil && !span.IsRecording() {
		return
	}
	use := modelUse(opChat, model)
	for _, n := range []struct {
		attr, kind string
		count      json.Number
	}{{attrGenAIInput, "input", a.InputTokens}, {attrGenAIOutput, "output", a.OutputTokens}} {
		if v, ok := count(n.count); ok {
			span.SetAttributes(attribute.Int64(n.attr, v))
			m.count(use, n.kind, v)
		}
	}
	if a.FinishReason != "" {
		span.SetAttributes(attribute.StringSlice(attrGenAIFinish, []string{a.FinishReason}))
	}
}

// count reads a whole number of tokens, which is what the conventions count.
func count(n json.Number) (int64, bool) {
	if v, err := n.Int64(); err == nil && v >= 0 {
		return v, true
	}
	if v, err := n.Float64(); err == nil && v >= 0 && v < 1<<53 {
		return int64(v), true
	}
	return 0, false
}
