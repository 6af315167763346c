package admintest_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/kittest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin/admintest"
)

// faulty is a store in memory with one fault.
type faulty struct {
	*admin.Memory
	fault string

	mu    sync.Mutex // guards the fields below, and is held by each Put
	first map[string]string
	last  *admin.Document // what was stored before the last Put
	given map[string]json.RawMessage
}

func (f *faulty) Put(ctx context.Context, d admin.Document) (admin.Document, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, _ := f.Memory.Get(context.WithoutCancel(ctx), d.Kind, d.Name)
	stored := d
	switch f.fault {
	case "ignores revisions":
		stored.Revision = now.Revision
	case "ignores the revision of what is there twice":
		if d.Name == "shared" && d.Revision != "" {
			stored.Revision = now.Revision
		}
	case "writes nothing over what is there":
		if now.Revision == d.Revision && d.Revision != "" {
			d.Revision += "X"
			return d, nil
		}
	case "rounds numbers":
		stored.Value = json.RawMessage(strings.ReplaceAll(string(d.Value), "12345678901234567890", "12345678901234567000"))
	case "stores half of a value":
		if stored.Value = d.Value[:len(d.Value)/2]; !json.Valid(stored.Value) {
			stored.Value = json.RawMessage(`{}`)
		}
	case "folds case":
		stored.Name = strings.ToLower(d.Name)
	case "takes what is no JSON":
		if !json.Valid(d.Value) {
			return d, nil
		}
	case "takes any key":
		if status.Of(f.check(ctx, d)) == status.InvalidArgument {
			return d, nil
		}
	case "ignores contexts":
		ctx = context.WithoutCancel(ctx)
	}
	out, err := f.Memory.Put(ctx, stored)
	if err != nil {
		return out, err
	}
	f.last = &now
	out.Name = d.Name
	switch f.fault {
	case "keeps the caller's slice":
		f.given[d.Name] = d.Value
	case "uses a revision again":
		if old := f.first[d.Name]; old != "" && d.Revision == "" {
			out.Revision = old
		}
	}
	f.first[d.Name] = out.Revision
	return out, nil
}

// check asks another store whether it would take a document.
func (f *faulty) check(ctx context.Context, d admin.Document) error {
	d.Revision, d.Value = "", json.RawMessage(`1`)
	_, err := admin.NewMemory().Put(ctx, d)
	return err
}

func (f *faulty) Get(ctx context.Context, kind, name string) (admin.Document, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault == "folds case" {
		name = strings.ToLower(name)
	}
	d, err := f.Memory.Get(ctx, kind, name)
	switch {
	case f.fault == "tells what was there before" && err == nil && f.last != nil && f.last.Name == name && f.last.Revision != "":
		return *f.last, nil
	case f.fault == "has one space for all kinds" && status.Of(err) == status.NotFound && kind != "tenant":
		return f.Memory.Get(ctx, "tenant", name)
	case f.fault == "returns nothing in the place of NOT_FOUND" && status.Of(err) == status.NotFound:
		return admin.Document{}, nil
	case f.fault == "keeps the caller's slice" && err == nil && f.given[name] != nil:
		d.Value = slices.Clone(f.given[name])
	}
	return d, err
}

func (f *faulty) List(ctx context.Context, kind string) ([]admin.Document, error) {
	all, err := f.Memory.List(ctx, kind)
	switch f.fault {
	case "lists as it likes":
		slices.Reverse(all)
	case "lists nil":
		if len(all) == 0 {
			return nil, err
		}
	}
	return all, err
}

func (f *faulty) Delete(ctx context.Context, kind, name string) error {
	switch f.fault {
	case "deletes nothing":
		return ctx.Err()
	case "wants a document to delete":
		if _, err := f.Memory.Get(ctx, kind, name); err != nil {
			return err
		}
	}
	return f.Memory.Delete(ctx, kind, name)
}

func TestTheKitFindsFaults(t *testing.T) {
	const (
		roundTrip = "a document comes back as it was stored"
		revisions = "a change wants the revision that is stored"
		list      = "documents of a kind come sorted by name"
	)
	kittest.Run(t, func(t *testing.T, fault string) {
		t.Helper()
		admintest.Run(t, func(*testing.T) admin.Store {
			return &faulty{Memory: admin.NewMemory(), fault: fault, first: map[string]string{}, given: map[string]json.RawMessage{}}
		})
	}, map[string]string{
		"rounds numbers":                              roundTrip,
		"stores half of a value":                      roundTrip,
		"has one space for all kinds":                 roundTrip,
		"ignores revisions":                           revisions,
		"writes nothing over what is there":           revisions,
		"tells what was there before":                 revisions,
		"ignores the revision of what is there twice": "of changes at the same time one alone succeeds",
		"lists as it likes":                           list,
		"lists nil":                                   list,
		"folds case":                                  "names keep apart",
		"takes any key":                               "keys that are none are refused",
		"takes what is no JSON":                       "values that are none are refused",
		"returns nothing in the place of NOT_FOUND":   "what is not there is NOT_FOUND",
		"deletes nothing":                             "a document that is deleted is gone",
		"wants a document to delete":                  "a document that is deleted is gone",
		"uses a revision again":                       "a document that is deleted is gone",
		"ignores contexts":                            "a context that has ended ends every call",
		"keeps the caller's slice":                    "what is returned and handed in is not shared",
	})
}
