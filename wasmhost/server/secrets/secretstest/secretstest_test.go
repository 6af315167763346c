package secretstest_test

import (
	"bytes"
	"context"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/kittest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets/secretstest"
)

// faulty is a backend in memory with one fault.
type faulty struct {
	fault string

	mu    sync.Mutex // guards the fields below
	texts map[secrets.Key][]byte
	stale map[secrets.Key][]byte // before the last change
	puts  int
}

func (b *faulty) fold(k secrets.Key) secrets.Key {
	switch b.fault {
	case "folds case":
		k.Name = strings.ToLower(k.Name)
	case "has one space for both kinds":
		k.Kind = secrets.Secret
	case "cuts long names":
		k.Name = k.Name[:min(len(k.Name), 60)]
	}
	return k
}

func (b *faulty) List(_ context.Context, tenant string) (keys []secrets.Key, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.texts {
		if tenant == "" || k.Tenant == tenant || b.fault == "lists other tenants' values" {
			keys = append(keys, k)
		}
	}
	if b.fault == "lists all but one" && len(keys) > 0 && len(keys) > 1 {
		keys = keys[1:]
	}
	return keys, nil
}

func (b *faulty) Get(_ context.Context, k secrets.Key) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	texts := b.texts
	if b.fault == "tells what was there before" && b.stale[k] != nil {
		texts = b.stale
	}
	text, ok := texts[b.fold(k)]
	switch {
	case !ok && b.fault == "has an empty text in the place of none":
		return nil, nil
	case !ok:
		return nil, status.ErrNotFound
	case b.fault == "hands out what it keeps":
		return text, nil
	}
	return bytes.Clone(text), nil
}

func (b *faulty) Put(_ context.Context, k secrets.Key, text []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	k = b.fold(k)
	b.puts++
	old := b.texts[k]
	switch {
	case b.fault == "keeps the first text" && old != nil, b.fault == "loses each hundredth text" && b.puts%100 == 0 && len(b.texts) < 20:
		return nil
	case b.fault == "stores half":
		text = text[:(len(text)+1)/2]
	case b.fault == "ends a text at its first line":
		text, _, _ = bytes.Cut(text, []byte("\n"))
	case b.fault == "appends" && old != nil:
		text = append(bytes.Clone(old), text...)
	}
	if b.fault != "keeps the caller's slice" {
		text = bytes.Clone(text)
	}
	b.stale = maps.Clone(b.texts)
	b.texts[k] = text
	return nil
}

func (b *faulty) Delete(_ context.Context, k secrets.Key) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	k = b.fold(k)
	switch {
	case b.fault == "deletes nothing":
		return nil
	case b.fault == "wants a text to delete" && b.texts[k] == nil:
		return status.ErrNotFound
	}
	delete(b.texts, k)
	delete(b.stale, k)
	return nil
}

func (b *faulty) Drop(_ context.Context, tenant string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := true
	maps.DeleteFunc(b.texts, func(k secrets.Key, _ []byte) bool {
		switch {
		case b.fault == "drops all tenants":
			return true
		case b.fault == "drops all but one" && k.Tenant == tenant && first:
			first = false
			return false
		}
		return k.Tenant == tenant
	})
	return nil
}

func (b *faulty) reopen() secrets.Backend {
	b.mu.Lock()
	defer b.mu.Unlock()
	again := &faulty{fault: b.fault, texts: maps.Clone(b.texts), puts: b.puts}
	if b.fault == "loses its last change when it ends" {
		again.texts = b.stale
	}
	return again
}

func TestTheKitFindsFaults(t *testing.T) {
	const (
		roundTrip = "a text comes back as it was put"
		keys      = "keys keep apart and are listed"
		deletes   = "what is removed is gone"
		shared    = "texts are the caller's"
		drops     = "a tenant's values are dropped"
	)
	kittest.Run(t, func(t *testing.T, fault string) {
		t.Helper()
		secretstest.Run(t, func(*testing.T) secretstest.Opened {
			b := &faulty{fault: fault, texts: map[secrets.Key][]byte{}}
			return secretstest.Opened{Backend: b, Reopen: b.reopen}
		})
	}, map[string]string{
		"keeps the first text":                   roundTrip,
		"stores half":                            "a store finds its values",
		"ends a text at its first line":          roundTrip,
		"appends":                                roundTrip,
		"tells what was there before":            roundTrip,
		"has an empty text in the place of none": roundTrip,
		"folds case":                             keys,
		"has one space for both kinds":           keys,
		"cuts long names":                        keys,
		"lists other tenants' values":            keys,
		"lists all but one":                      keys,
		"deletes nothing":                        deletes,
		"wants a text to delete":                 deletes,
		"keeps the caller's slice":               shared,
		"hands out what it keeps":                shared,
		"drops all tenants":                      drops,
		"drops all but one":                      drops,
		"loses each hundredth text":              "tenants at the same time are each kept",
		"loses its last change when it ends":     "what was acknowledged outlives the process",
	})
}
