package generate

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// serve returns req as a model of these capabilities can serve it: documents and
// schemas that it does not take natively are put into the messages. req is not
// changed.
func serve(req *model.Request, supports model.Supports) *model.Request {
	if !supports.Context {
		req = augment(req)
	}
	return format.Simulate(req, supports)
}

const contextPreface = "\n\nUse the following information to complete your task:\n\n"

// augment puts the documents into the last user message (Genkit:
// js/ai/src/model/middleware.ts, augmentWithContext).
func augment(req *model.Request) *model.Request {
	target := format.LastUser(req.Messages)
	if len(req.Docs) == 0 || target < 0 || format.HasPart(req.Messages[target], "context") {
		return req
	}
	var text strings.Builder
	text.WriteString(contextPreface)
	for i, doc := range req.Docs {
		text.WriteString("- [" + citation(doc, i) + "]: " + content.TextOf(doc.Content) + "\n")
	}
	text.WriteString("\n")
	part := content.Text(text.String())
	part.Metadata = content.Metadata{"purpose": json.RawMessage(`"context"`)}
	c := *req
	c.Messages = format.PutPart(req.Messages, target, part, "context")
	return &c
}

// citation is the document's ref or id, else its place.
func citation(doc content.Document, i int) string {
	for _, key := range []string{"ref", "id"} {
		if !doc.Metadata.Truthy(key) {
			continue
		}
		var text string
		if json.Unmarshal(doc.Metadata[key], &text) == nil {
			return text
		}
		return string(doc.Metadata[key])
	}
	return strconv.Itoa(i)
}
