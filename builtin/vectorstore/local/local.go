// Package local is a vector store in a directory: documents and their embeddings, found
// again by nearness and by metadata.
//
// It owns the files, the index in memory, and the plugin that registers a retriever and
// an indexer for each index, devLocalVectorstore/<name> as in Genkit JS. When a call
// that stores returns, its documents are on the disk; a crash loses an unfinished call
// as a whole. One process at a time has a store open. Use:
//
//	p := local.Plugin(local.Options{Dir: "data", Indexes: []local.Index{{Name: "films", Embedder: "acme/e1"}}})
//	defer p.Close()
//	eng, err := engine.New(ctx, engine.Config{Plugins: []registry.Plugin{p}})
//	err = engine.Index(ctx, eng, engine.WithIndexerName("devLocalVectorstore/films"), engine.WithDocs(docs...))
//	docs, err := engine.Retrieve(ctx, eng, engine.WithRetrieverName("devLocalVectorstore/films"), engine.WithTextDocs("sharks"), engine.WithConfig(map[string]any{"k": 5}))
//
// or, with vectors of one's own, [Open], [Store.Put] and [Store.Search].
//
// A search looks at every vector, at two bits of each coordinate of most: see the
// package's internal/scan, and docs/retrieval.md for figures and reasons.
//
// Locks: Store.writer is taken before Store.mu. Neither is held while an embedder runs;
// mu is not held while the disk is written to.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local/internal/filter"
	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local/internal/scan"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/journal"
)

// Metric is the measure of nearness.
type Metric string

// The metrics.
const (
	// Cosine compares directions; a vector of zeros is as near as a right angle.
	Cosine Metric = "cosine"
	// Dot is the inner product of the vectors as they are.
	Dot Metric = "dot"
)

// Config configures a store.
type Config struct {
	// Dir is the store's own directory; it is made if it is absent.
	Dir string
	// Metric is Cosine when empty. Like Embedder it is chosen when the store is made;
	// opening it with another fails.
	Metric Metric
	// Embedder names the embedder that made the vectors, so that vectors of two
	// embedders are not compared. "" makes no claim and accepts any.
	Embedder string
	// MaxVectors bounds the vectors that are kept, and with them the memory; 0 means a
	// million.
	MaxVectors int
	// Logger gets what is cut off or put off; nil drops it.
	Logger *slog.Logger
}

const defaultMaxVectors = 1_000_000

// Store is an open vector store. It is safe for concurrent use.
type Store struct {
	config Config
	files  storedir.FS
	// writer holds a token while nobody writes. A channel, so that waiting ends with
	// the context.
	writer chan struct{}

	mu sync.RWMutex // guards the fields below; only the writer changes it
	*contents
	closed bool

	// stray is the generation of a file that a compaction has made and that is not used;
	// 0 is none. While it is there nothing is written: it would be opened the next time,
	// without what was written since. The writer guards it.
	stray uint64
}

// contents is the content of a file, in memory.
type contents struct {
	generation uint64
	journal    *journal.Journal
	index      *scan.Index // nil until the first vector comes
	columns    *filter.Columns
	byID       map[string]uint32
	entries    []entry
	rows       []storedRow
	live       []uint64 // a bit for each row
	dead       int      // rows
	liveBytes  int64
	fileBytes  int64
}

// entry is a document.
type entry struct {
	id       string
	document span
	at       int64  // the place of its operation, which takes size bytes
	sum      uint32 // of its operation
	docSum   uint32 // of the document
	first    uint32 // row
	count    uint32 // of rows; 0 when it is deleted
	size     int64
}

// storedRow is an embedding.
type storedRow struct {
	entry    uint32
	metaLen  uint32
	metaSum  uint32
	vector   int64 // its place in the file
	metadata int64
}

type header struct {
	Metric   Metric `json:"metric"`
	Embedder string `json:"embedder,omitempty"`
}

// Open opens a store or makes one. It fails with FAILED_PRECONDITION when the store is
// open elsewhere or was made for another metric or embedder, with DATA_LOSS when the
// file is damaged; an unfinished write of a crash is cut off.
func Open(c Config) (*Store, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	if c.Dir == "" {
		return nil, status.Errorf(status.InvalidArgument, "a vector store needs a directory")
	}
	files, err := storedir.Open(c.Dir, "vector store")
	if err != nil {
		return nil, err
	}
	return openFS(files, c)
}

// complete checks a Config and fills in defaults.
func (c *Config) complete() error {
	switch c.Metric {
	case "":
		c.Metric = Cosine
	case Cosine, Dot:
	default:
		return status.Publicf(status.InvalidArgument, "metric %q: want %q or %q", c.Metric, Cosine, Dot)
	}
	if c.MaxVectors <= 0 {
		c.MaxVectors = defaultMaxVectors
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func openFS(files storedir.FS, c Config) (*Store, error) {
	s := &Store{config: c, files: files, writer: make(chan struct{}, 1)}
	s.writer <- struct{}{}
	var err error
	if s.contents, err = s.openNewest(); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

func (s *Store) release() (err error) {
	_ = s.removeStray() // or either file is opened the next time: they hold the same
	if s.contents != nil {
		err = s.journal.Close()
	}
	return errors.Join(err, s.files.Close())
}

// openNewest opens the file of the highest generation and removes the others.
func (s *Store) openNewest() (*contents, error) {
	found, err := s.generations()
	if err != nil {
		return nil, err
	}
	// The newest may have been named by a process that ended before the name was synced.
	if err := s.files.SyncDir("."); err != nil {
		return nil, status.Errorf(status.Unavailable, "vector store: %w", err)
	}
	if len(found) == 0 {
		return s.create(1, nil)
	}
	newest := found[len(found)-1]
	c, err := s.load(newest)
	if err != nil {
		return nil, err
	}
	for _, g := range found[:len(found)-1] {
		_ = s.files.Remove(fileName(g)) // next time, then
	}
	return c, nil
}

// create makes the file of a generation, all or nothing; fill may put something in.
func (s *Store) create(generation uint64, fill func(j *journal.Journal) error) (*contents, error) {
	head, err := json.Marshal(header{s.config.Metric, s.config.Embedder})
	if err != nil {
		return nil, status.Errorf(status.InvalidArgument, "vector store: %w", err)
	}
	file, err := s.files.OpenFile(temporaryName, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, status.Errorf(status.Unavailable, "make the vector file: %w", err)
	}
	j, err := journal.Create(kind, file, head, nil)
	if err == nil && fill != nil {
		err = fill(j)
	}
	if err = errors.Join(err, file.Close()); err == nil {
		s.stray = generation // until it is used
		err = storedir.Rename(s.files, ".", temporaryName, fileName(generation))
	}
	var c *contents
	if err == nil {
		c, err = s.load(generation)
	}
	if err != nil {
		storedir.Discard(s.files, temporaryName)
		_ = s.removeStray() // or before the next write
		return nil, failed("make the vector file", err)
	}
	s.stray = 0
	return c, nil
}

// removeStray removes the file of a compaction that failed.
func (s *Store) removeStray() error {
	if s.stray == 0 {
		return nil
	}
	err := s.files.Remove(fileName(s.stray))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = s.files.SyncDir(".")
	}
	if err != nil {
		return status.Errorf(status.Unavailable, "a compaction failed and can't be undone yet: %w", err)
	}
	s.stray = 0
	return nil
}

// failed keeps the status of an error that has one.
func failed(what string, err error) error {
	if e, ok := errors.AsType[*status.Error](err); ok {
		return e
	}
	return status.Errorf(status.Unavailable, "%s: %w", what, err)
}

func (s *Store) load(generation uint64) (c *contents, err error) {
	file, err := s.files.OpenFile(fileName(generation), os.O_RDWR, 0)
	if err != nil {
		return nil, status.Errorf(status.Unavailable, "open the vector file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, status.Errorf(status.Unavailable, "open the vector file: %w", err)
	}
	c = &contents{generation: generation, columns: filter.NewColumns(), byID: map[string]uint32{}}
	if c.journal, err = s.replay(c, file, info.Size()); err != nil {
		return nil, err
	}
	c.fileBytes = c.journal.Size()
	if cut := c.journal.Cut; cut > 0 {
		s.config.Logger.Warn("cut off what an unfinished write left", slog.String("dir", s.config.Dir), slog.Int64("bytes", cut))
	}
	return c, nil
}

// replay reads a file into c.
func (s *Store) replay(c *contents, file storedir.File, size int64) (*journal.Journal, error) {
	return journal.Open(kind, file, size, func(j *journal.Journal) error {
		var h header
		if err := json.Unmarshal(j.Header(), &h); err != nil {
			return status.Errorf(status.DataLoss, "vector file: its header is no JSON: %w", err)
		}
		c.journal = j
		return s.accepts(h)
	}, func(payload []byte, at int64) error {
		ops, err := operations(payload)
		if err != nil {
			return err
		}
		prepared, err := prepare(c.journal, &c.index, payload, ops)
		if err != nil {
			return err
		}
		for i := range prepared {
			if full := c.install(&prepared[i], at); full {
				c.index.Seal()()
			}
		}
		if len(c.rows)-c.dead > s.config.MaxVectors {
			return status.Errorf(status.ResourceExhausted, "the vector file holds more than %d vectors", s.config.MaxVectors)
		}
		return nil
	})
}

func (s *Store) accepts(h header) error {
	if h.Metric != s.config.Metric {
		return status.Errorf(status.FailedPrecondition, "the vector store in %q was made for the metric %q, not %q", s.config.Dir, h.Metric, s.config.Metric)
	}
	if h.Embedder != "" && s.config.Embedder != "" && h.Embedder != s.config.Embedder {
		return status.Errorf(status.FailedPrecondition, "the vector store in %q was made with the embedder %q, not %q", s.config.Dir, h.Embedder, s.config.Embedder)
	}
	return nil
}

// Stats describes the content of a store.
type Stats struct {
	Documents  int
	Vectors    int
	Dimensions int
	// FileBytes is the size of the file, DeadBytes what the next compaction takes off.
	FileBytes, DeadBytes int64
	// IndexBytes is the memory of the vectors; ids and metadata come on top.
	IndexBytes int64
}

// Stats describes the store's content now.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := Stats{
		Documents: len(s.byID), Vectors: len(s.rows) - s.dead,
		FileBytes: s.fileBytes, DeadBytes: s.fileBytes - s.liveBytes,
	}
	if s.index != nil {
		st.Dimensions, st.IndexBytes = s.index.Dims(), s.index.Bytes()
	}
	return st
}

// Close waits for writes and searches that are under way and gives the directory free.
// Later calls fail with FAILED_PRECONDITION.
func (s *Store) Close() error {
	<-s.writer
	defer s.writable()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.release()
}

func (s *Store) writable() { s.writer <- struct{}{} }

var errClosed = status.Errorf(status.FailedPrecondition, "the vector store is closed")

// write takes the right to write; end gives it back.
func (s *Store) write(ctx context.Context) (end func(), err error) {
	select {
	case <-s.writer:
	case <-ctx.Done():
		return nil, status.Convert(ctx.Err())
	}
	if err := ctx.Err(); err != nil || s.closed {
		s.writable()
		if err != nil {
			return nil, status.Convert(err)
		}
		return nil, errClosed
	}
	return s.writable, nil
}

const (
	kind          = "gkwvec"
	filePrefix    = "vectors-"
	temporaryName = "vectors.new"
)

func fileName(generation uint64) string { return fmt.Sprintf("%s%016x", filePrefix, generation) }

// generations returns the numbers of the files, ascending.
func (s *Store) generations() ([]uint64, error) {
	entries, err := s.files.ReadDir(".")
	if err != nil {
		return nil, status.Errorf(status.Unavailable, "vector store: %w", err)
	}
	var found []uint64
	for _, e := range entries {
		name := e.Name()
		if g, err := strconv.ParseUint(strings.TrimPrefix(name, filePrefix), 16, 64); err == nil && name == fileName(g) {
			found = append(found, g)
		}
	}
	slices.Sort(found)
	return found, nil
}
