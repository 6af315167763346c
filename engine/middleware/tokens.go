package middleware

import (
	"context"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// A model reports its tokens at the end of its answer. Of a call that ends before, nothing is
// reported, and yet its provider has read the request and written what was streamed: a caller
// who leaves each stream just before its end would never pay. So these tokens are estimated.
const (
	// bytesPerToken is how many bytes of English text the usual tokenisers make a token of.
	bytesPerToken = 4
	// mediaTokens is about what a picture costs.
	mediaTokens = 1024
)

// streamed counts what a model has streamed. Its methods are safe for concurrent use.
type streamed struct {
	bytes atomic.Int64
	late  bool // the call was given up before the model was asked
}

func (s *streamed) add(c *model.Chunk) {
	if c == nil {
		return
	}
	n := partsBytes(c.Content)
	if c.Aggregated == nil || !*c.Aggregated {
		s.bytes.Add(n)
		return
	}
	for had := s.bytes.Load(); n > had; had = s.bytes.Load() { // it repeats what came before
		if s.bytes.CompareAndSwap(had, n) {
			return
		}
	}
}

// unfinished is what a call of m has used that ended with a code in the place of an answer: an
// estimate, if the model had begun to answer, or the call was given up while the model was at it.
// Else, as of a provider that could not be reached or refused the request, it is nothing.
func unfinished(ctx context.Context, m model.Model, req *model.Request, s *streamed, code status.Code) allowance.Use {
	wrote := s.bytes.Load()
	if wrote == 0 && (s.late || ctx.Err() == nil) {
		return allowance.Use{Code: code}
	}
	use := allowance.Use{Code: code, Reported: true, Estimated: true, Input: estimateInput(m, req), Output: min(tokensOf(wrote), believedOutput)}
	use.Total = use.Input + use.Output
	return use
}

// estimateInput is about how many tokens the model m reads of a request.
func estimateInput(m model.Model, req *model.Request) int64 {
	var text, media int64
	for i := range req.Messages {
		text += partsBytes(req.Messages[i].Content)
		media += countMedia(req.Messages[i].Content)
	}
	if m.Info().Supports.Context { // else they are in the messages
		for i := range req.Docs {
			text += partsBytes(req.Docs[i].Content)
			media += countMedia(req.Docs[i].Content)
		}
	}
	if len(req.Tools) > 0 {
		text += encodedBytes(req.Tools)
	}
	return tokensOf(text) + media*mediaTokens
}

// partsBytes are the bytes of parts that are text to a model; media is none.
func partsBytes(parts []content.Part) (n int64) {
	for i := range parts {
		switch p := &parts[i]; {
		case p.Text != nil:
			n += int64(len(*p.Text))
		case p.Reasoning != nil:
			n += int64(len(*p.Reasoning))
		case p.Media == nil:
			n += encodedBytes(p)
		}
	}
	return n
}

func countMedia(parts []content.Part) (n int64) {
	for i := range parts {
		if parts[i].Media != nil {
			n++
		}
	}
	return n
}

func encodedBytes(v any) int64 {
	raw, err := rawjson.Encode(v)
	if err != nil {
		return 0 // it could not be sent either
	}
	return int64(len(raw))
}

func tokensOf(bytes int64) int64 { return (bytes + bytesPerToken - 1) / bytesPerToken }
