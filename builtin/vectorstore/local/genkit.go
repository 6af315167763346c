package local

import (
	"context"
	"encoding/json"
	"io"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// genkitEntry is a member of Genkit's __db_<name>.json. The embedding is a list in the
// Go SDK's files and an object in those of Genkit JS.
type genkitEntry struct {
	Doc       *content.Document `json:"doc"`
	Embedding json.RawMessage   `json:"embedding"`
}

// importAtOnce is how many documents of a Genkit file one commit holds.
const importAtOnce = 500

// ImportGenkit stores the documents of a file that Genkit's own local vector store has
// written, JS or Go, and returns how many; they are named by their content. It reads
// the file piece by piece. After an error what came before it is stored, and importing
// again does no harm.
func (s *Store) ImportGenkit(ctx context.Context, r io.Reader) (int, error) {
	bounded := &boundedReader{r: r}
	d := json.NewDecoder(bounded)
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return 0, status.Publicf(status.InvalidArgument, "a Genkit vector file is a JSON object: %w", orUnexpected(err))
	}
	stored := 0
	var entries []Entry
	flush := func() error {
		err := s.Put(ctx, entries)
		if err == nil {
			stored += len(entries)
		}
		entries = entries[:0]
		return err
	}
	for d.More() {
		bounded.from = d.InputOffset()
		e, err := readGenkit(d)
		if err != nil {
			return stored, err
		}
		if entries = append(entries, e); len(entries) == importAtOnce {
			if err := flush(); err != nil {
				return stored, err
			}
		}
	}
	if _, err := d.Token(); err != nil {
		return stored, status.Publicf(status.InvalidArgument, "the Genkit vector file is cut off: %w", orUnexpected(err))
	}
	return stored, flush()
}

func readGenkit(d *json.Decoder) (e Entry, err error) {
	key, err := d.Token()
	if err != nil {
		return e, status.Publicf(status.InvalidArgument, "Genkit vector file: %w", err)
	}
	var g genkitEntry
	if err := d.Decode(&g); err != nil || g.Doc == nil {
		return e, status.Publicf(status.InvalidArgument, "entry %.100q of the Genkit vector file: %w", key, orUnexpected(err))
	}
	var embedding embed.Embedding
	if err := json.Unmarshal(g.Embedding, &embedding.Vector); err != nil {
		if err := json.Unmarshal(g.Embedding, &embedding); err != nil {
			return e, status.Publicf(status.InvalidArgument, "embedding of entry %.100q of the Genkit vector file: %w", key, err)
		}
		embedding.Metadata = nil // the document has it
	}
	return Entry{Document: *g.Doc, Embeddings: []embed.Embedding{embedding}}, nil
}

func orUnexpected(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// boundedReader bounds the bytes that the decoder has to keep of one entry.
type boundedReader struct {
	r    io.Reader
	read int64
	from int64 // where the entry begins
}

const maxGenkitEntry = 16 << 20

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.read-b.from > maxGenkitEntry {
		return 0, status.Publicf(status.InvalidArgument, "an entry of more than %d bytes", maxGenkitEntry)
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	return n, err
}
