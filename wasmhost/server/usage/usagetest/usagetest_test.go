package usagetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/kittest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage/usagetest"
)

// store is a store in memory with one fault.
type store struct {
	fault string
	texts map[string][]byte
	stale map[string][]byte // before the last change
}

func (s *store) key(name string) string {
	if s.fault == "cuts names" {
		return name[:min(len(name), 10)]
	}
	return name
}

func (s *store) Names() (names []string, err error) {
	names = slices.Sorted(maps.Keys(s.texts))
	if s.fault == "lists as it likes" {
		slices.Reverse(names)
	}
	return names, nil
}

func (s *store) Read(name string) ([]byte, error) {
	texts := s.texts
	if s.fault == "tells what was there before" && s.stale[name] != nil {
		texts = s.stale
	}
	text, ok := texts[s.key(name)]
	switch {
	case !ok && s.fault == "has an empty text in the place of none":
		return nil, nil
	case !ok:
		return nil, status.Errorf(status.NotFound, "no %q", name)
	case s.fault == "hands out what it keeps":
		return text, nil
	case s.fault == "cuts long texts":
		text = text[:min(len(text), 3<<20)]
	}
	return bytes.Clone(text), nil
}

func (s *store) Append(name string, text []byte) error {
	before := bytes.Clone(s.texts[s.key(name)])
	switch {
	case s.fault == "makes a name without a text" && len(text) == 0 && before == nil:
		s.texts[name] = []byte{}
		return nil
	case len(text) == 0:
		return nil
	case s.fault == "puts what is appended before":
		s.set(name, append(bytes.Clone(text), before...))
		return nil
	case s.fault == "loses what is appended in another process" && strings.HasPrefix(name, "day-") && before != nil:
		return nil
	case s.fault == "keeps the caller's slice" && before == nil:
		s.texts[name] = text
		return nil
	case s.fault == "appends half":
		text = text[:(len(text)+1)/2]
	}
	s.set(name, append(before, text...))
	return nil
}

func (s *store) set(name string, text []byte) {
	s.stale = maps.Clone(s.texts)
	s.texts[s.key(name)] = text
}

func (s *store) Replace(name string, text []byte) error {
	switch {
	case s.fault == "ends texts at a zero byte" && bytes.IndexByte(text, 0) >= 0:
		text = text[:bytes.IndexByte(text, 0)]
	case s.fault == "appends in the place of replacing" && len(text) > 0:
		return s.Append(name, text)
	case s.fault == "removes nothing" && len(text) == 0:
		return nil
	case s.fault == "wants a text to remove" && len(text) == 0 && s.texts[name] == nil:
		return status.ErrNotFound
	}
	if len(text) == 0 {
		delete(s.texts, s.key(name))
		delete(s.stale, s.key(name))
		return nil
	}
	s.set(name, bytes.Clone(text))
	return nil
}

func TestTheKitOfStoresFindsFaults(t *testing.T) {
	kittest.Run(t, func(t *testing.T, fault string) {
		t.Helper()
		usagetest.Store(t, func(*testing.T) usage.Store { return &store{fault: fault, texts: map[string][]byte{}} })
	}, map[string]string{
		"ends texts at a zero byte":                 "text comes back as it was stored",
		"has an empty text in the place of none":    "text comes back as it was stored",
		"tells what was there before":               "text comes back as it was stored",
		"cuts names":                                "names keep apart and come sorted",
		"lists as it likes":                         "names keep apart and come sorted",
		"puts what is appended before":              "what is appended comes after",
		"appends half":                              "what is appended comes after",
		"makes a name without a text":               "what is appended comes after",
		"appends in the place of replacing":         "what is appended comes after",
		"removes nothing":                           "what is removed is gone",
		"wants a text to remove":                    "what is removed is gone",
		"keeps the caller's slice":                  "text is the caller's",
		"hands out what it keeps":                   "text is the caller's",
		"cuts long texts":                           "a day's text may be long",
		"loses what is appended in another process": "a book finds in it what it has written",
	})
}

// sink is a sink into memory with one fault.
type sink struct {
	fault string
	got   []json.RawMessage
}

func (s *sink) Send(ctx context.Context, events []json.RawMessage) error {
	if ctx.Err() != nil {
		if s.fault == "acknowledges what it does not deliver" {
			return nil
		}
		return ctx.Err()
	}
	events = slices.Clone(events)
	switch s.fault {
	case "delivers half of a batch":
		events = events[:(len(events)+1)/2]
	case "delivers the last one first":
		slices.Reverse(events)
	case "wants each event once":
		for _, e := range events {
			if slices.ContainsFunc(s.got, func(old json.RawMessage) bool { return bytes.Equal(old, e) }) {
				return status.ErrAlreadyExists
			}
		}
	case "writes lines as they are":
		for i, e := range events {
			events[i] = bytes.ReplaceAll(e, []byte(`\n`), []byte("\n"))
		}
	}
	for _, e := range events {
		if s.fault != "keeps the caller's slices" {
			e = bytes.Clone(e)
		}
		s.got = append(s.got, e)
	}
	return nil
}

func TestTheKitOfSinksFindsFaults(t *testing.T) {
	kittest.Run(t, func(t *testing.T, fault string) {
		t.Helper()
		usagetest.Sink(t, func(*testing.T) usagetest.Receiver {
			s := &sink{fault: fault}
			return usagetest.Receiver{Sink: s, Got: func() []json.RawMessage { return s.got }}
		})
	}, map[string]string{
		"delivers half of a batch":              "events arrive as they are, in their order",
		"delivers the last one first":           "events arrive as they are, in their order",
		"writes lines as they are":              "names may hold anything",
		"keeps the caller's slices":             "slices are the caller's again",
		"wants each event once":                 "slices are the caller's again",
		"acknowledges what it does not deliver": "what is acknowledged is delivered, also when the context has ended",
	})
}
