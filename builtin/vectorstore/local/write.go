package local

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local/internal/filter"
	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local/internal/scan"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/journal"
)

// Entry is a document to store.
type Entry struct {
	// ID names the document: what is stored under it is replaced. "" takes [ContentID].
	ID       string
	Document content.Document
	// Embeddings are one or more. Of several with the same metadata the first is kept,
	// as in Genkit: the documents found would be equal.
	Embeddings []embed.Embedding
}

// ContentID returns the id that a document has by its content: the SHA-256 of its JSON.
func ContentID(doc content.Document) (string, error) {
	raw, err := encodeDocument(doc)
	return contentID(raw), err
}

func contentID(raw []byte) string {
	sum := sha256.Sum256(raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func encodeDocument(doc content.Document) ([]byte, error) {
	raw, err := rawjson.Encode(doc)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "document: %w", err)
	}
	if len(raw) > MaxDocument {
		return nil, status.Publicf(status.InvalidArgument, "a document of %d bytes exceeds the limit of %d", len(raw), MaxDocument)
	}
	return raw, nil
}

// Put stores entries, all or none: when it returns nil they are on the disk and found.
// An error with INVALID_ARGUMENT is about the entries, RESOURCE_EXHAUSTED says that the
// store is full.
func (s *Store) Put(ctx context.Context, entries []Entry) error {
	ops, ids := make([][]byte, len(entries)), make([]string, len(entries))
	vectors := 0
	for i := range entries {
		var err error
		if ids[i], ops[i], err = s.encode(&entries[i]); err != nil {
			return err
		}
		vectors += len(entries[i].Embeddings)
	}
	end, err := s.write(ctx)
	if err != nil {
		return err
	}
	defer end()
	for _, id := range ids {
		if number, here := s.byID[id]; here {
			vectors -= int(s.entries[number].count)
		}
	}
	if have := len(s.rows) - s.dead; have+vectors > s.config.MaxVectors {
		return status.Publicf(status.ResourceExhausted, "the store holds %d vectors and takes at most %d", have, s.config.MaxVectors)
	}
	return s.commit(ops)
}

// encode checks an entry and makes its operation.
func (s *Store) encode(e *Entry) (id string, op []byte, err error) {
	raw, err := encodeDocument(e.Document)
	if err != nil {
		return "", nil, err
	}
	if id = e.ID; id == "" {
		id = contentID(raw)
	}
	if err := checkID(id); err != nil {
		return "", nil, err
	}
	if len(e.Embeddings) == 0 || len(e.Embeddings) > maxVectors {
		return "", nil, status.Publicf(status.InvalidArgument, "document %q has %d embeddings, want 1 to %d", id, len(e.Embeddings), maxVectors)
	}
	seen := map[string]bool{}
	var vectors []putVector
	for _, x := range e.Embeddings {
		v := putVector{}
		if x.Metadata != nil {
			if v.metadata, err = rawjson.Encode(x.Metadata); err != nil {
				return "", nil, status.Publicf(status.InvalidArgument, "metadata of an embedding of %q: %w", id, err)
			}
		}
		if seen[string(v.metadata)] {
			continue
		}
		seen[string(v.metadata)] = true
		if v.values, err = s.narrow(x.Vector); err != nil {
			return "", nil, status.Publicf(status.InvalidArgument, "document %q: %w", id, err)
		}
		vectors = append(vectors, v)
	}
	return id, appendPut(nil, id, raw, vectors), nil
}

func checkID(id string) error {
	if id == "" || len(id) > MaxID || !utf8.ValidString(id) {
		return status.Publicf(status.InvalidArgument, "id %.100q: want text of 1 to %d bytes", id, MaxID)
	}
	return nil
}

// narrow makes a vector as it is stored: of length 1 for the cosine.
func (s *Store) narrow(v []float64) ([]float32, error) {
	if len(v) == 0 || len(v) > MaxDimensions {
		return nil, status.Errorf(status.InvalidArgument, "a vector of %d dimensions, want 1 to %d", len(v), MaxDimensions)
	}
	most, length := 1.0, 1.0
	if s.config.Metric == Cosine {
		most, length = 0, 0
		for _, f := range v {
			most = max(most, math.Abs(f))
		}
		if most == 0 {
			return make([]float32, len(v)), nil
		}
		for _, f := range v {
			length += (f / most) * (f / most) // nothing overflows on the way
		}
		length = math.Sqrt(length)
	}
	narrow := make([]float32, len(v))
	for i, f := range v {
		narrow[i] = float32(f / most / length)
		if !(narrow[i] <= maxCoordinate && narrow[i] >= -maxCoordinate) { // NaN too
			return nil, status.Errorf(status.InvalidArgument, "coordinate %d of a vector is %v, want a number up to %g", i+1, f, float64(maxCoordinate))
		}
	}
	return narrow, nil
}

// Delete removes documents and returns how many there were of them; it is on the disk
// when it returns.
func (s *Store) Delete(ctx context.Context, ids ...string) (int, error) {
	end, err := s.write(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	var ops [][]byte
	seen := map[string]bool{}
	for _, id := range ids {
		if _, here := s.byID[id]; here && !seen[id] {
			seen[id] = true
			ops = append(ops, appendDelete(nil, id))
		}
	}
	return len(ops), s.commit(ops)
}

// commit writes operations and then shows them to searches. The writer calls it.
func (s *Store) commit(ops [][]byte) error {
	packed, err := payloads(ops)
	if err != nil || len(packed) == 0 {
		return err
	}
	if err := s.removeStray(); err != nil {
		return err
	}
	prepared := make([][]prepared, len(packed))
	index := s.index
	for i, payload := range packed {
		decoded, err := operations(payload)
		if err != nil {
			return status.Errorf(status.Internal, "read back what is to be written: %w", err)
		}
		if prepared[i], err = prepare(s.journal, &index, payload, decoded); err != nil {
			return err
		}
	}
	places, err := s.journal.Commit(packed)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.index, s.fileBytes = index, s.journal.Size()
	s.mu.Unlock()
	for i := range prepared {
		s.show(prepared[i], places[i])
	}
	s.tidy()
	return nil
}

// showAtOnce is how many operations searches wait for.
const showAtOnce = 256

func (s *Store) show(ops []prepared, at int64) {
	for len(ops) > 0 {
		n, full := 0, false
		s.mu.Lock()
		for n < min(len(ops), showAtOnce) && !full {
			full = s.install(&ops[n], at)
			n++
		}
		s.mu.Unlock()
		ops = ops[n:]
		if full {
			installCode := s.index.Seal() // only the writer changes the index
			s.mu.Lock()
			installCode()
			s.mu.Unlock()
		}
	}
}

// prepared is an operation with what takes time done.
type prepared struct {
	operation
	codes  []scan.Code
	values []filter.Values
}

// prepare codes the vectors and reads the metadata of operations, on all processors.
// The first vector ever decides the dimensions and makes the index.
func prepare(j *journal.Journal, index **scan.Index, payload []byte, ops []operation) ([]prepared, error) {
	for _, op := range ops {
		for _, v := range op.vectors {
			if *index == nil {
				salt := j.Salt()
				*index = scan.New(len(v.values), [2]uint64{binary.LittleEndian.Uint64(salt[:]), binary.LittleEndian.Uint64(salt[8:])})
			}
			if index := *index; len(v.values) != index.Dims() {
				return nil, status.Publicf(status.InvalidArgument, "document %q has a vector of %d dimensions, those of the store have %d", op.id, len(v.values), index.Dims())
			}
		}
	}
	out := make([]prepared, len(ops))
	errs := make([]error, len(ops))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(ops)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(ops); i = int(next.Add(1)) - 1 {
				out[i], errs[i] = prepareOne(*index, payload, ops[i])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

func prepareOne(index *scan.Index, payload []byte, op operation) (prepared, error) {
	p := prepared{operation: op}
	if op.delete {
		return p, nil
	}
	var doc struct {
		Metadata map[string]json.RawMessage `json:"metadata"`
	}
	raw := payload[op.document.at:][:op.document.len]
	if err := json.Unmarshal(raw, &doc); err != nil {
		return p, status.Publicf(status.InvalidArgument, "document %q: %w", op.id, err)
	}
	for i, v := range op.vectors {
		p.codes = append(p.codes, index.Encode(v.values))
		p.vectors[i].values = nil // read from the file when it is needed
		metadata := content.Metadata(doc.Metadata)
		if v.metadata.len > 0 {
			metadata = metadata.With(embedMetadata, payload[v.metadata.at:][:v.metadata.len])
		}
		values, err := filter.Scan(metadata)
		if err != nil {
			return p, err
		}
		p.values = append(p.values, values)
	}
	return p, nil
}

// install makes an operation visible; at is the place of its payload in the file. It
// reports whether a block of the index is full.
func (c *contents) install(p *prepared, at int64) (full bool) {
	c.remove(p.id)
	if p.delete {
		return false
	}
	number := uint32(len(c.entries))                                                                                                                                                               //nolint:gosec // bounded by MaxVectors and compaction
	e := entry{id: p.id, document: span{p.document.at + at, p.document.len}, at: p.at + at, sum: p.sum, docSum: p.docSum, first: uint32(len(c.rows)), count: uint32(len(p.vectors)), size: p.size} //nolint:gosec // as above
	for i, v := range p.vectors {
		if full {
			c.index.Seal()()
		}
		row := len(c.rows)
		c.rows = append(c.rows, storedRow{entry: number, metaLen: uint32(v.metadata.len), metaSum: v.metaSum, vector: v.at + at, metadata: v.metadata.at + at}) //nolint:gosec // bounded
		if row%64 == 0 {
			c.live = append(c.live, 0)
		}
		c.live[row/64] |= 1 << (row % 64)
		c.columns.Add(p.values[i])
		full = c.index.Append(p.codes[i])
	}
	c.entries = append(c.entries, e)
	c.byID[p.id] = number
	c.liveBytes += p.size
	return full
}

func (c *contents) remove(id string) {
	number, ok := c.byID[id]
	if !ok {
		return
	}
	delete(c.byID, id)
	e := &c.entries[number]
	for row := e.first; row < e.first+e.count; row++ {
		c.live[row/64] &^= 1 << (row % 64)
	}
	c.dead += int(e.count)
	c.liveBytes -= e.size
	*e = entry{}
}

// leastDead is how many bytes a compaction has to be worth.
const leastDead = 8 << 20

// tidy compacts the file when more than half of it is dead, so that the cost of it
// stays in proportion to what is written.
func (s *Store) tidy() {
	if dead := s.journal.Size() - s.liveBytes; dead < leastDead || dead < s.liveBytes {
		return
	}
	if err := s.compact(); err != nil {
		s.config.Logger.Warn("compaction failed; the store goes on as it is", slog.String("dir", s.config.Dir), slog.Any("error", err))
	}
}

// Compact rewrites the file without documents that were replaced or deleted. Searches go on
// meanwhile; the memory of the index is taken twice for that time.
func (s *Store) Compact(ctx context.Context) error {
	end, err := s.write(ctx)
	if err != nil {
		return err
	}
	defer end()
	return s.compact()
}

func (s *Store) compact() error {
	if err := s.removeStray(); err != nil {
		return err
	}
	fresh, err := s.create(s.generation+1, s.copyLive)
	if err != nil {
		return err
	}
	s.mu.Lock()
	old := s.contents
	s.contents = fresh
	s.mu.Unlock()
	_ = old.journal.Close()
	_ = s.files.Remove(fileName(old.generation)) // or when the store is opened
	return nil
}

// copyLive writes the live entries, in their order.
func (s *Store) copyLive(j *journal.Journal) error {
	const enough = 8 << 20
	var ops [][]byte
	pending := 0
	flush := func() error {
		packed, err := payloads(ops)
		if err == nil {
			_, err = j.Commit(packed)
		}
		ops, pending = nil, 0
		return err
	}
	for i := range s.entries {
		e := &s.entries[i]
		if e.count == 0 {
			continue
		}
		op, err := s.reread(e)
		if err != nil {
			return err
		}
		ops, pending = append(ops, op), pending+len(op)
		if pending >= enough {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// reread returns an entry's operation as it stands in the file; DATA_LOSS when that has
// changed since it was read or written, so that no damage gets a checksum of its own.
func (s *Store) reread(e *entry) ([]byte, error) { return s.read(span{e.at, int(e.size)}, e.sum) }
