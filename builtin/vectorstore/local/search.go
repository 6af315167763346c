package local

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local/internal/filter"
	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local/internal/scan"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// MaxK bounds the documents of one answer.
const MaxK = 1000

// embedMetadata is where a found document holds the metadata of its embedding.
const embedMetadata = "embedMetadata"

// Query describes a search.
type Query struct {
	// K is how many documents are wanted, at most MaxK.
	K int
	// Filter chooses documents by their metadata; nil lets all through. See
	// docs/retrieval.md for the language.
	Filter json.RawMessage
	// MinScore leaves out documents that are less near; nil for no such bound.
	MinScore *float64
}

// Result is a document that was found.
type Result struct {
	ID       string
	Document content.Document
	// Score is the cosine, or the inner product.
	Score float64
}

// Search returns the documents nearest to a vector, the nearest first; of equal ones
// the one that was stored first.
func (s *Store) Search(ctx context.Context, vector []float64, q Query) ([]Result, error) {
	if q.K < 0 || q.K > MaxK {
		return nil, status.Publicf(status.InvalidArgument, "k is %d, want 0 to %d", q.K, MaxK)
	}
	var chosen *filter.Filter
	if len(q.Filter) > 0 {
		var err error
		if chosen, err = filter.Parse(q.Filter); err != nil {
			return nil, err
		}
	}
	query, err := s.narrow(vector)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "query: %w", err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, errClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	if s.index == nil {
		return nil, nil
	}
	if len(query) != s.index.Dims() {
		return nil, status.Publicf(status.InvalidArgument, "the query has %d dimensions, the store's vectors have %d", len(query), s.index.Dims())
	}
	buf := make([]float32, len(query))
	hits, err := s.index.Search(query, scan.Query{
		K: q.K, Rows: s.candidates(chosen),
		Exact: func(row int) ([]float32, error) { return buf, s.readVector(row, buf) },
	})
	if err != nil {
		return nil, err
	}
	results := make([]Result, 0, len(hits))
	for _, h := range hits {
		if q.MinScore != nil && h.Score < *q.MinScore {
			break
		}
		r, err := s.result(h)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

// candidates returns the rows that may be found; nil for all.
func (c *contents) candidates(chosen *filter.Filter) []uint64 {
	if chosen == nil {
		if c.dead == 0 {
			return nil
		}
		return c.live
	}
	rows := chosen.Rows(c.columns)
	for i := range rows {
		rows[i] &= c.live[i]
	}
	return rows
}

func (c *contents) result(h scan.Hit) (r Result, err error) {
	e := &c.entries[c.rows[h.Row].entry]
	r.ID, r.Score = e.id, h.Score
	raw, err := c.read(e.document, e.docSum)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(raw, &r.Document); err != nil {
		return r, status.Errorf(status.DataLoss, "document %q: %w", e.id, err)
	}
	metadata, err := c.read(c.metadataOf(h.Row), c.rows[h.Row].metaSum)
	if err == nil && len(metadata) > 0 {
		r.Document.Metadata = r.Document.Metadata.With(embedMetadata, metadata)
	}
	return r, err
}

func (c *contents) metadataOf(row int) span {
	r := c.rows[row]
	return span{r.metadata, int(r.metaLen)}
}

// read returns bytes of the file; DATA_LOSS when they are not those of the checksum.
func (c *contents) read(s span, sum uint32) ([]byte, error) {
	if s.len == 0 {
		return nil, nil
	}
	b := make([]byte, s.len)
	if err := c.journal.ReadAt(b, s.at); err != nil {
		return nil, err
	}
	if checksum(b) != sum {
		return nil, status.Errorf(status.DataLoss, "byte %d of the vector file and what follows was changed under the store", s.at)
	}
	return b, nil
}

func (c *contents) readVector(row int, v []float32) error {
	b := make([]byte, 4*len(v))
	if err := c.journal.ReadAt(b, c.rows[row].vector); err != nil {
		return err
	}
	if !floats(v, b) {
		return status.Errorf(status.DataLoss, "the vector file changed under the store")
	}
	return nil
}

// unchanged reports whether the document of an id is stored as raw already.
func (s *Store) unchanged(id string, raw []byte) (bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return false, errClosed
	}
	number, here := s.byID[id]
	if !here || s.entries[number].document.len != len(raw) {
		return false, nil
	}
	stored, err := s.read(s.entries[number].document, s.entries[number].docSum)
	return string(stored) == string(raw), err
}
