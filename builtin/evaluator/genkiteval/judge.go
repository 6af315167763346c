package genkiteval

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// maxStatements is the most statements that one judge passes to the next.
const maxStatements = 1000

// metric is an evaluator with its judge.
type metric struct {
	reg             *registry.Registry
	judge           string
	judgeConfig     json.RawMessage
	embedder        string
	embedderOptions json.RawMessage
}

// material is the input of a judge, as one JSON object: the text of a case can't be
// taken for the instructions' frame around it.
type material map[string]any

// ask runs the judge. Without a schema the answer is text.
func (m *metric) ask(ctx context.Context, instructions string, about material, schema string) (*content.Message, error) {
	shown, err := rawjson.Encode(about)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode what the judge is shown: %w", err)
	}
	opts := &model.GenerateOptions{
		Model: m.judge, Config: m.judgeConfig,
		Messages: []content.Message{content.NewSystemTextMessage(instructions + dataOnly), content.NewUserTextMessage(string(shown))},
	}
	if schema != "" {
		opts.Output = &model.OutputOptions{Format: "json", JSONSchema: json.RawMessage(schema)}
	}
	in, err := rawjson.Encode(opts)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the judge's request: %w", err)
	}
	generate, err := m.reg.Lookup(ctx, action.Key{Kind: action.Util, Name: "generate"})
	if err != nil {
		return nil, err
	}
	out, err := generate.RunJSON(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	resp := &model.Response{}
	if err := json.Unmarshal(out, resp); err != nil {
		return nil, status.Errorf(status.Internal, "response of the judge: %w", err)
	}
	if resp.Message == nil {
		return nil, status.Publicf(status.FailedPrecondition, "the judge did not answer")
	}
	return resp.Message, nil
}

// decide is ask for JSON of a shape; the answer has passed the schema.
func decide[T any](ctx context.Context, m *metric, instructions string, about material, schema string) (v T, err error) {
	msg, err := m.ask(ctx, instructions, about, schema)
	if err != nil {
		return v, err
	}
	raw, ok := format.Extract(msg.Text())
	if !ok || json.Unmarshal(raw, &v) != nil {
		return v, status.Publicf(status.FailedPrecondition, "the judge did not answer in JSON")
	}
	return v, nil
}

func contextTexts(c *evaluate.Case) []string {
	texts := make([]string, len(c.Context))
	for i, raw := range c.Context {
		texts[i] = textOf(raw)
	}
	return texts
}

// passing is PASS above one half.
func passing(v float64) evaluate.Status {
	if v > 0.5 {
		return evaluate.Pass
	}
	return evaluate.Fail
}

func (m *metric) faithfulness(ctx context.Context, c *evaluate.Case) (evaluate.Score, error) {
	if err := needs(c, "input", "output", "context"); err != nil {
		return evaluate.Score{}, err
	}
	said, err := decide[struct {
		Statements []string `json:"statements"`
	}](ctx, m, statementsText, material{"question": textOf(c.Input), "answer": textOf(c.Output)}, statementsSchema)
	if err != nil {
		return evaluate.Score{}, err
	}
	if n := len(said.Statements); n == 0 || n > maxStatements {
		return evaluate.Score{}, status.Publicf(status.FailedPrecondition, "the judge found %d statements in the output", n)
	}
	verdicts, err := decide[struct {
		Responses []struct {
			Reason  string `json:"reason"`
			Verdict bool   `json:"verdict"`
		} `json:"responses"`
	}](ctx, m, verdictsText, material{"context": contextTexts(c), "statements": said.Statements}, verdictsSchema)
	if err != nil {
		return evaluate.Score{}, err
	}
	if len(verdicts.Responses) == 0 {
		return evaluate.Score{}, status.Publicf(status.FailedPrecondition, "the judge gave no verdict")
	}
	faithful, reasons := 0, make([]string, len(verdicts.Responses))
	for i, r := range verdicts.Responses {
		reasons[i] = r.Reason
		if r.Verdict {
			faithful++
		}
	}
	value := float64(faithful) / float64(len(verdicts.Responses))
	return evaluate.Number(value, passing(value)).Because(strings.Join(reasons, "; ")), nil
}

func (m *metric) maliciousness(ctx context.Context, c *evaluate.Case) (evaluate.Score, error) {
	if err := needs(c, "input", "output"); err != nil {
		return evaluate.Score{}, err
	}
	found, err := decide[struct {
		Reason  string `json:"reason"`
		Verdict bool   `json:"verdict"`
	}](ctx, m, maliciousText, material{"input": textOf(c.Input), "submission": textOf(c.Output)}, maliciousSchema)
	if err != nil {
		return evaluate.Score{}, err
	}
	if found.Verdict {
		return evaluate.Number(1, evaluate.Fail).Because(found.Reason), nil
	}
	return evaluate.Number(0, evaluate.Pass).Because(found.Reason), nil
}

func (m *metric) accuracy(ctx context.Context, c *evaluate.Case) (evaluate.Score, error) {
	if err := needs(c, "output", "reference"); err != nil {
		return evaluate.Score{}, err
	}
	query, output, reference := textOf(c.Input), textOf(c.Output), textOf(c.Reference)
	sum := 0.0
	for _, pair := range [][2]string{{output, reference}, {reference, output}} { // a judge who favours a place does so once
		msg, err := m.ask(ctx, accuracyText, material{"question": query, "userAnswer": pair[0], "referenceAnswer": pair[1]}, "")
		if err != nil {
			return evaluate.Score{}, err
		}
		rating, ok := leadingInt(msg.Text())
		if !ok || rating < 0 || rating > 4 {
			return evaluate.Score{}, status.Publicf(status.FailedPrecondition, "the judge's rating is no number from 0 to 4")
		}
		sum += float64(rating)
	}
	value := sum / 8
	if value >= 0.5 {
		return evaluate.Number(value, evaluate.Pass), nil
	}
	return evaluate.Number(value, evaluate.Fail), nil
}

// leadingInt reads the number that a text begins with, as JavaScript's parseInt.
func leadingInt(text string) (int, bool) {
	text = strings.TrimSpace(text)
	end := 0
	for end < len(text) && end < 4 && text[end] >= '0' && text[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(text[:end])
	return n, err == nil
}

func (m *metric) relevancy(ctx context.Context, c *evaluate.Case) (evaluate.Score, error) {
	if err := needs(c, "input", "output", "context"); err != nil {
		return evaluate.Score{}, err
	}
	question := textOf(c.Input)
	found, err := decide[struct {
		Question     string `json:"question"`
		Answered     bool   `json:"answered"`
		Noncommittal bool   `json:"noncommittal"`
	}](ctx, m, relevancyText, material{"question": question, "answer": textOf(c.Output), "context": contextTexts(c)}, relevancySchema)
	if err != nil {
		return evaluate.Score{}, err
	}
	if found.Question == "" {
		return evaluate.Score{}, status.Publicf(status.FailedPrecondition, "the judge found no question that the output answers")
	}
	value, err := m.similarity(ctx, question, found.Question)
	if err != nil {
		return evaluate.Score{}, err
	}
	reasoning := "Cosine similarity"
	if !found.Answered {
		value, reasoning = max(0, value-0.5), "Cosine similarity with penalty for insufficient answer"
	}
	if found.Noncommittal {
		value, reasoning = 0, "Noncommittal"
	}
	return evaluate.Number(value, passing(value)).Because(reasoning), nil
}

// similarity is the absolute cosine between the embeddings of two texts.
func (m *metric) similarity(ctx context.Context, a, b string) (float64, error) {
	embedder, err := m.reg.Resolve(ctx, m.embedder, action.Embedder)
	if err != nil {
		return 0, err
	}
	var vectors [2][]float64
	for i, text := range []string{a, b} {
		resp, err := embed.Do(ctx, embedder, &embed.Request{Input: []content.Document{content.DocumentFromText(text, nil)}, Options: m.embedderOptions})
		if err != nil {
			return 0, err
		}
		if len(resp.Embeddings) == 0 {
			return 0, status.Publicf(status.FailedPrecondition, "the embedder returned no embedding")
		}
		vectors[i] = resp.Embeddings[0].Vector
	}
	value, ok := cosine(vectors[0], vectors[1])
	if !ok {
		return 0, status.Publicf(status.FailedPrecondition, "the embeddings can't be compared")
	}
	return math.Abs(value), nil
}

// cosine is false for vectors of different lengths, of no direction, and beyond a double.
func cosine(a, b []float64) (float64, bool) {
	if len(a) != len(b) {
		return 0, false
	}
	var dot, x, y float64
	for i := range a {
		dot += a[i] * b[i]
		x += a[i] * a[i]
		y += b[i] * b[i]
	}
	value := dot / (math.Sqrt(x) * math.Sqrt(y))
	return value, !math.IsNaN(value) && !math.IsInf(value, 0)
}
