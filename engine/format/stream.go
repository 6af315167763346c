package format

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// Stream reads the output of a generate call while it is streamed. It is used by one
// goroutine at a time.
type Stream struct {
	parser ChunkParser
	index  int
	text   strings.Builder // grows in place, so its String costs nothing
}

// NewStream returns a stream for a handler of that call alone. Without a handler, no
// format having been asked, the text is read as JSON; a handler that is no
// [ChunkParser] gives nothing.
func NewStream(h Handler) *Stream {
	if h == nil {
		return &Stream{parser: &jsonHandler{}}
	}
	parser, _ := h.(ChunkParser)
	return &Stream{parser: parser}
}

// Next returns the output as far as chunk c reveals it, nil for nothing. Chunks of
// tools are passed over, and each message of the model is read for itself.
func (s *Stream) Next(ctx context.Context, c *model.Chunk) (json.RawMessage, error) {
	if s.parser == nil || c.Role != "" && c.Role != content.RoleModel {
		return nil, nil
	}
	if c.Index != s.index {
		s.index = c.Index
		s.text.Reset()
	}
	delta := c.Text()
	if c.Aggregated != nil && *c.Aggregated { // the chunk repeats what came before it
		if rest, ok := strings.CutPrefix(delta, s.text.String()); ok {
			delta = rest
		} else {
			s.text.Reset()
		}
	}
	if delta == "" {
		return nil, nil
	}
	s.text.WriteString(delta)
	return s.parser.ParseChunk(ctx, s.text.String(), delta)
}
