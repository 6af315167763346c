package retrieve

import (
	"context"
	"encoding/json"
	"reflect"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Simple says how the rows of a [NewSimple] retriever become documents. Rows that are
// strings need nothing of it; of others, one of Content and ContentKey is needed.
type Simple[R any] struct {
	Info Info
	// Content gives a row's content; it wins over ContentKey.
	Content func(row R) ([]content.Part, error)
	// ContentKey is the key of the row, seen as JSON, whose text is the content.
	ContentKey string
	// Metadata gives a row's metadata; it wins over MetadataKeys.
	Metadata func(row R) (content.Metadata, error)
	// MetadataKeys are the keys of the row, seen as JSON, that become metadata. With
	// neither, all of them do but ContentKey.
	MetadataKeys []string
}

// NewSimple makes a retriever of a function that returns rows of its own: Genkit's
// simple retriever. A row that can't be made a document fails the call with
// INVALID_ARGUMENT, as in Genkit JS.
func NewSimple[O, R any](name string, s Simple[R], fn func(ctx context.Context, query content.Document, options O) ([]R, error)) (Retriever, error) {
	return New(name, s.Info, func(ctx context.Context, query content.Document, options O) ([]content.Document, error) {
		rows, err := fn(ctx, query, options)
		if err != nil {
			return nil, err
		}
		docs := make([]content.Document, len(rows))
		for i, row := range rows {
			if docs[i], err = s.document(row); err != nil {
				return nil, status.Publicf(status.InvalidArgument, "row %d of retriever %q: %w", i+1, name, err)
			}
		}
		return docs, nil
	})
}

func (s *Simple[R]) document(row R) (content.Document, error) {
	if text, ok := any(row).(string); ok {
		if text == "" {
			return content.Document{}, status.Errorf(status.InvalidArgument, "it is empty")
		}
		return content.Document{Content: []content.Part{content.NewTextPart(text)}}, nil
	}
	keys, err := s.keys(row)
	if err != nil {
		return content.Document{}, err
	}
	parts, err := s.content(row, keys)
	if err != nil {
		return content.Document{}, err
	}
	metadata, err := s.metadata(row, keys)
	return content.Document{Content: parts, Metadata: metadata}, err
}

// keys sees a row as a JSON object, where that is needed.
func (s *Simple[R]) keys(row R) (content.Metadata, error) {
	if v := reflect.ValueOf(&row).Elem(); !v.IsValid() || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface || v.Kind() == reflect.Map) && v.IsNil() {
		return nil, status.Errorf(status.InvalidArgument, "it is nil")
	}
	if s.Content != nil && s.Metadata != nil {
		return nil, nil
	}
	raw, err := rawjson.Encode(row)
	if err != nil {
		return nil, err
	}
	var keys content.Metadata
	if err := json.Unmarshal(raw, &keys); err != nil {
		return nil, status.Errorf(status.InvalidArgument, "a %T is no JSON object, so that Content and Metadata have to be functions", row)
	}
	return keys, nil
}

func (s *Simple[R]) content(row R, keys content.Metadata) ([]content.Part, error) {
	if s.Content != nil {
		return s.Content(row)
	}
	if s.ContentKey == "" {
		return nil, status.Errorf(status.InvalidArgument, "neither Content nor ContentKey says what the content of a %T is", row)
	}
	var text *string
	if err := json.Unmarshal(keys[s.ContentKey], &text); err != nil || text == nil {
		return nil, status.Errorf(status.InvalidArgument, "%q is not text", s.ContentKey)
	}
	return []content.Part{content.NewTextPart(*text)}, nil
}

func (s *Simple[R]) metadata(row R, keys content.Metadata) (content.Metadata, error) {
	switch {
	case s.Metadata != nil:
		return s.Metadata(row)
	case s.MetadataKeys == nil:
		return keys.Without(s.ContentKey), nil
	}
	chosen := content.Metadata{}
	for _, key := range s.MetadataKeys {
		if v, ok := keys[key]; ok {
			chosen[key] = v
		}
	}
	return chosen, nil
}
