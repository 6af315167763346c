package genkiteval

import (
	"context"
	"regexp"

	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Bounds of what is matched: RE2 takes time in proportion to their product.
const (
	maxPatternBytes = 1 << 10
	maxTextBytes    = 256 << 10
)

// matches looks for the pattern anywhere in the output's text; an output that is no
// string is matched as JSON. Syntax that RE2 lacks, such as back references and
// lookahead, fails the case.
func matches(_ context.Context, c *evaluate.Case) (evaluate.Score, error) {
	pattern, err := textReference(c, "it is a regular expression")
	if err != nil {
		return evaluate.Score{}, err
	}
	text := textOf(c.Output)
	if len(pattern) > maxPatternBytes || len(text) > maxTextBytes {
		return evaluate.Score{}, status.Publicf(status.InvalidArgument, "a pattern of %d and an output of %d bytes exceed the limits of %d and %d",
			len(pattern), len(text), maxPatternBytes, maxTextBytes)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return evaluate.Score{}, status.Publicf(status.InvalidArgument, "the reference is no regular expression of RE2: %w", err)
	}
	return evaluate.Verdict(re.MatchString(text)), nil
}
