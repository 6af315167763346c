package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/retrieve"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// DefaultPrefix is the first part of the actions' names, as Genkit JS spells it; the
// Go SDK's is devLocalVectorStore.
const DefaultPrefix = "devLocalVectorstore"

// Options configures the plugin.
type Options struct {
	// Dir holds a directory for each index.
	Dir     string
	Indexes []Index
	// Prefix is [DefaultPrefix] when empty.
	Prefix string
	// Logger gets warnings; nil drops them.
	Logger *slog.Logger
}

// Index is a store with a retriever and an indexer.
type Index struct {
	// Name is 1 to 64 letters, digits, ".", "_" and "-", beginning with a letter or a
	// digit.
	Name string
	// Embedder is the name or key of what embeds documents and queries; it is looked up
	// when it is needed.
	Embedder string
	// EmbedderOptions are given to the embedder; nil for none.
	EmbedderOptions any
	// BatchSize bounds the documents of a request to the embedder; 0 means what it
	// declares or, like Genkit, one.
	BatchSize int
	// Parallel bounds the requests to the embedder that are under way for one call; 0
	// means 8.
	Parallel int
	// Metric and MaxVectors are as in [Config].
	Metric     Metric
	MaxVectors int
}

const defaultParallel = 8

// RetrieverOptions are the options of the retriever.
type RetrieverOptions struct {
	// K is how many documents are wanted; nil means 3, as in Genkit.
	K *int `json:"k,omitempty"`
	// Filter chooses documents by their metadata.
	Filter json.RawMessage `json:"filter,omitempty"`
	// MinScore leaves out documents that are less near.
	MinScore *float64 `json:"minScore,omitempty"`
	// Include adds to the metadata of what is found: "id" as _id, "score" as _score.
	Include []string `json:"include,omitempty"`
}

const defaultK = 3

// IndexerOptions are the options of the indexer.
type IndexerOptions struct {
	// IDField names the field of the metadata whose text is the document's id: what is
	// stored under it is replaced. Without it a document is named by its content, and
	// one that is stored already is passed over.
	IDField string `json:"idField,omitempty"`
	// Delete are the ids of documents to remove first.
	Delete []string `json:"delete,omitempty"`
}

var retrieverSchema = json.RawMessage(`{"type":"object","properties":{` +
	`"k":{"type":"integer","minimum":0,"maximum":1000,"description":"Number of documents to retrieve; 3 when it is left out"},` +
	`"filter":{"type":"object","description":"Conditions on the metadata that all have to hold: a value for a field, or an object of the operators eq, ne, in, nin, gt, gte, lt, lte, exists and not, each with a dollar sign before it; and, or and not join filters"},` +
	`"minScore":{"type":"number","description":"Leave out documents that are less near"},` +
	`"include":{"type":"array","items":{"type":"string","enum":["id","score"]},"description":"What to add to the metadata, as _id and _score"}` +
	`},"additionalProperties":false}`)

var indexerSchema = json.RawMessage(`{"type":"object","properties":{` +
	`"idField":{"type":"string","minLength":1,"description":"The field of the metadata that holds the id of a document; what is stored under it is replaced"},` +
	`"delete":{"type":"array","items":{"type":"string"},"description":"Ids of documents to remove first"}` +
	`},"additionalProperties":false}`)

// P is the plugin. Close it when the engine is closed.
type P struct {
	options Options

	mu     sync.Mutex // guards stores
	stores map[string]*Store
}

var _ registry.Plugin = (*P)(nil)

// Plugin makes the plugin. It opens nothing before it is registered, and can be
// registered once.
func Plugin(o Options) *P {
	o.Prefix = cmp.Or(o.Prefix, DefaultPrefix)
	return &P{options: o, stores: map[string]*Store{}}
}

// Name returns the prefix.
func (p *P) Name() string { return p.options.Prefix }

// Register opens the stores and registers a retriever and an indexer for each.
func (p *P) Register(_ context.Context, r *registry.Registry) error {
	for _, x := range p.options.Indexes {
		if err := p.register(r, x); err != nil {
			return errors.Join(err, p.Close())
		}
	}
	return nil
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (p *P) register(r *registry.Registry, x Index) error {
	if !nameForm.MatchString(x.Name) || x.Embedder == "" {
		return status.Errorf(status.InvalidArgument, "index %q with embedder %q: want a name of 1 to 64 letters, digits, \".\", \"_\" and \"-\", and an embedder", x.Name, x.Embedder)
	}
	store, err := Open(Config{
		Dir: filepath.Join(p.options.Dir, x.Name), Metric: x.Metric, Embedder: x.Embedder, MaxVectors: x.MaxVectors, Logger: p.options.Logger,
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	_, twice := p.stores[x.Name]
	if !twice {
		p.stores[x.Name] = store
	}
	p.mu.Unlock()
	if twice {
		return errors.Join(status.Errorf(status.AlreadyExists, "index %q stands twice", x.Name), store.Close())
	}
	return newServed(r, store, x).register(p.options.Prefix + "/" + x.Name)
}

// Store returns the store of an index, or nil.
func (p *P) Store(index string) *Store {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stores[index]
}

// Close closes all stores.
func (p *P) Close() error {
	p.mu.Lock()
	stores := p.stores
	p.stores = map[string]*Store{}
	p.mu.Unlock()
	var err error
	for _, s := range stores {
		err = errors.Join(err, s.Close())
	}
	return err
}

// served is a store behind actions.
type served struct {
	registry *registry.Registry
	store    *Store
	index    Index
	options  []embed.Option
}

func newServed(r *registry.Registry, s *Store, x Index) *served {
	parallel := x.Parallel
	if parallel <= 0 {
		parallel = defaultParallel
	}
	return &served{r, s, x, []embed.Option{embed.WithConfig(x.EmbedderOptions), embed.WithBatchSize(x.BatchSize), embed.WithParallel(parallel)}}
}

func (s *served) register(name string) error {
	label := "Local vector store - " + s.index.Name
	retriever, err := retrieve.New(name, retrieve.Info{Label: label, OptionsSchema: retrieverSchema}, s.retrieve)
	if err != nil {
		return err
	}
	indexer, err := retrieve.NewIndexer(name, retrieve.IndexerInfo{OptionsSchema: indexerSchema}, s.put)
	if err != nil {
		return err
	}
	if err := s.registry.Register(retriever); err != nil {
		return err
	}
	return s.registry.Register(indexer)
}

func (s *served) embedder(ctx context.Context) (action.Action, error) {
	return s.registry.Resolve(ctx, s.index.Embedder, action.Embedder)
}

func (s *served) retrieve(ctx context.Context, query content.Document, o RetrieverOptions) ([]content.Document, error) {
	e, err := s.embedder(ctx)
	if err != nil {
		return nil, err
	}
	embeddings, err := embed.One(ctx, e, query, s.options...)
	if err != nil {
		return nil, err
	}
	if len(embeddings) == 0 {
		return nil, status.Publicf(status.Internal, "embedder %q returned no embedding for the query", s.index.Embedder)
	}
	k := defaultK
	if o.K != nil {
		k = *o.K
	}
	found, err := s.store.Search(ctx, embeddings[0].Vector, Query{K: k, Filter: o.Filter, MinScore: o.MinScore})
	if err != nil {
		return nil, err
	}
	docs := make([]content.Document, len(found))
	for i, f := range found {
		docs[i] = f.Document
		for _, what := range o.Include {
			key, v := "_id", any(f.ID)
			if what == "score" {
				key, v = "_score", f.Score
			}
			raw, err := rawjson.Encode(v)
			if err != nil {
				return nil, status.Errorf(status.Internal, "%s of a result: %w", what, err)
			}
			docs[i].Metadata = docs[i].Metadata.With(key, raw)
		}
	}
	return docs, nil
}

// put embeds and stores what is not there yet.
func (s *served) put(ctx context.Context, docs []content.Document, o IndexerOptions) error {
	if _, err := s.store.Delete(ctx, o.Delete...); err != nil {
		return err
	}
	var entries []Entry
	var fresh []content.Document
	seen := map[string]int{} // the place of an id's last document, which wins
	for _, doc := range docs {
		id, here, err := s.identify(doc, o.IDField)
		if err != nil {
			return err
		}
		if i, again := seen[id]; again {
			fresh[i], entries[i].Document = doc, doc
			continue
		}
		if here {
			continue
		}
		seen[id] = len(fresh)
		fresh = append(fresh, doc)
		entries = append(entries, Entry{ID: id, Document: doc})
	}
	if len(fresh) == 0 {
		return nil
	}
	e, err := s.embedder(ctx)
	if err != nil {
		return err
	}
	embeddings, err := embed.All(ctx, e, fresh, s.options...)
	if err != nil {
		return err
	}
	for i := range entries {
		entries[i].Embeddings = embeddings[i]
	}
	return s.store.Put(ctx, entries)
}

// identify returns a document's id, and whether it is stored as it is.
func (s *served) identify(doc content.Document, field string) (id string, here bool, err error) {
	raw, err := encodeDocument(doc)
	if err != nil {
		return "", false, err
	}
	id = contentID(raw)
	if field != "" {
		if err := json.Unmarshal(doc.Metadata[field], &id); err != nil || id == "" {
			return "", false, status.Publicf(status.InvalidArgument, "a document's metadata has no text in %q, which is to be its id", field)
		}
	}
	here, err = s.store.unchanged(id, raw)
	return id, here, err
}
