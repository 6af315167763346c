package embed

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Media returns a document of one media part.
func Media(url, contentType string) content.Document {
	return content.Document{Content: []content.Part{content.NewMediaPart(contentType, url)}}
}

// Data is the inverse of [DataOf]: a text part for the type "text", else media.
func Data(data, dataType string) content.Document {
	if dataType == "text" {
		return content.DocumentFromText(data, nil)
	}
	return Media(data, dataType)
}

// DataOf returns a document's text and "text" or, where it has none, the URL and the
// type of its first media part; nothing when it has neither.
func DataOf(doc content.Document) (data, dataType string) {
	if text := content.TextOf(doc.Content); text != "" {
		return text, "text"
	}
	for _, p := range doc.Content {
		if p.Media != nil {
			return p.Media.URL, p.Media.ContentType
		}
	}
	return "", ""
}

// metadataKey is the metadata field in which a document says which of its embeddings it
// was stored for.
const metadataKey = "embedMetadata"

// Documents returns a copy of a document for each of its embeddings, so that a store
// can keep them apart: an embedding's metadata stands in the copy's, as
// "embedMetadata". It is Genkit's getEmbeddingDocuments. Copies whose embeddings have
// no metadata are equal; the caller has to see to that.
func Documents(doc content.Document, embeddings []Embedding) ([]content.Document, error) {
	docs := make([]content.Document, len(embeddings))
	for i, e := range embeddings {
		docs[i] = doc
		if e.Metadata == nil {
			continue
		}
		raw, err := rawjson.Encode(map[string]json.RawMessage(e.Metadata))
		if err != nil {
			return nil, status.Errorf(status.Internal, "metadata of embedding %d: %w", i+1, err)
		}
		docs[i].Metadata = doc.Metadata.With(metadataKey, raw)
	}
	return docs, nil
}
