package admin

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Bounds of a document.
const (
	// MaxValueBytes bounds the value of a document.
	MaxValueBytes = 256 << 10
	maxNameBytes  = 256
)

// Document is a JSON value under a kind and a name.
type Document struct {
	Kind, Name string
	// Revision changes with each change of the value. It is not empty and has letters and
	// digits only.
	Revision string
	Value    json.RawMessage
	// Problem says why a document can't be read; Revision and Value are empty then. It is
	// not stored.
	Problem error
}

// Store keeps documents. What it has acknowledged is there after a crash, what it has not is
// there whole or not at all. The package admintest checks this contract.
//
// Kinds are 1 to 32 small letters, names 1 to 256 bytes of UTF-8; others fail with INVALID_ARGUMENT.
// An error that is not one of those named says that the store could not do its work.
type Store interface {
	// List returns the documents of a kind, sorted by name. One that is damaged comes with
	// its Problem, DATA_LOSS, and does not keep the others from coming. The caller owns the
	// values.
	List(ctx context.Context, kind string) ([]Document, error)
	// Get returns a document; NOT_FOUND when there is none, DATA_LOSS when it is damaged.
	// The caller owns the value.
	Get(ctx context.Context, kind, name string) (Document, error)
	// Put stores d.Value in the place of the revision d.Revision, which is empty where
	// nothing is stored, and returns the document with its new revision. ABORTED when the
	// stored revision is another, DATA_LOSS when what is stored is damaged,
	// INVALID_ARGUMENT when the value is no JSON or too long.
	Put(ctx context.Context, d Document) (Document, error)
	// Delete removes a document, also a damaged one. One that is not there is no error.
	Delete(ctx context.Context, kind, name string) error
}

// Replacer is a [Store] that takes the place of what is damaged in one step, so that a crash leaves either.
type Replacer interface {
	// Replace is Put, and where what is stored is damaged it stores d.Value in its place,
	// whatever d.Revision is.
	Replace(ctx context.Context, d Document) (Document, error)
}

// replace is [Replacer], for stores that have no such step as well: a document that this process has in
// memory counts, and not what became of it on the disk.
func replace(ctx context.Context, s Store, d Document) (Document, error) {
	if r, ok := s.(Replacer); ok {
		return r.Replace(ctx, d)
	}
	stored, err := s.Put(ctx, d)
	if !errors.Is(err, status.ErrDataLoss) {
		return stored, err
	}
	if err := s.Delete(ctx, d.Kind, d.Name); err != nil {
		return Document{}, err
	}
	d.Revision = ""
	return s.Put(ctx, d)
}

var kindPattern = regexp.MustCompile(`^[a-z]{1,32}$`)

func checkKey(kind, name string) error {
	if !kindPattern.MatchString(kind) || name == "" || len(name) > maxNameBytes || !utf8.ValidString(name) {
		return status.Errorf(status.InvalidArgument, "document %q of kind %q: want a name of 1 to %d bytes of UTF-8 and a kind of 1 to 32 small letters", abi.Line(name, 80), abi.Line(kind, 40), maxNameBytes)
	}
	return nil
}

func checkValue(d Document) error {
	if len(d.Value) > MaxValueBytes || !json.Valid(d.Value) {
		return status.Errorf(status.InvalidArgument, "document %q of kind %q: want JSON of at most %d bytes", abi.Line(d.Name, 80), d.Kind, MaxValueBytes)
	}
	return nil
}

func noDocument(kind, name string) error {
	return status.Errorf(status.NotFound, "document %q of kind %q does not exist", abi.Line(name, 80), kind)
}

func otherRevision(d Document) error {
	return status.Publicf(status.Aborted, "%s %q was changed meanwhile", d.Kind, abi.Line(d.Name, 80))
}

func newRevision() string { return rand.Text() }

func sortDocuments(all []Document) {
	slices.SortFunc(all, func(a, b Document) int { return cmp.Compare(a.Name, b.Name) })
}

// Memory keeps documents as long as the process lives. It is safe for concurrent use.
type Memory struct {
	mu   sync.Mutex // guards docs
	docs map[[2]string]Document
}

var _ Store = (*Memory)(nil)

// NewMemory returns a store without documents.
func NewMemory() *Memory { return &Memory{docs: map[[2]string]Document{}} }

// enter takes the lock, if the context and the key are good.
func (m *Memory) enter(ctx context.Context, kind, name string) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	if err := checkKey(kind, name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	return m.mu.Unlock, nil
}

// List implements [Store].
func (m *Memory) List(ctx context.Context, kind string) ([]Document, error) {
	unlock, err := m.enter(ctx, kind, "-")
	if err != nil {
		return nil, err
	}
	defer unlock()
	all := []Document{}
	for key, d := range m.docs {
		if key[0] == kind {
			all = append(all, d.clone())
		}
	}
	sortDocuments(all)
	return all, nil
}

// Get implements [Store].
func (m *Memory) Get(ctx context.Context, kind, name string) (Document, error) {
	unlock, err := m.enter(ctx, kind, name)
	if err != nil {
		return Document{}, err
	}
	defer unlock()
	d, ok := m.docs[[2]string{kind, name}]
	if !ok {
		return Document{}, noDocument(kind, name)
	}
	return d.clone(), nil
}

// Put implements [Store].
func (m *Memory) Put(ctx context.Context, d Document) (Document, error) {
	unlock, err := m.enter(ctx, d.Kind, d.Name)
	if err != nil {
		return Document{}, err
	}
	defer unlock()
	if err := checkValue(d); err != nil {
		return Document{}, err
	}
	key := [2]string{d.Kind, d.Name}
	if m.docs[key].Revision != d.Revision {
		return Document{}, otherRevision(d)
	}
	d.Revision, d.Problem = newRevision(), nil
	m.docs[key] = d.clone()
	return d, nil
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, kind, name string) error {
	unlock, err := m.enter(ctx, kind, name)
	if err != nil {
		return err
	}
	defer unlock()
	delete(m.docs, [2]string{kind, name})
	return nil
}

func (d Document) clone() Document {
	d.Value = slices.Clone(d.Value)
	return d
}
