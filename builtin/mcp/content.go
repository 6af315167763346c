package mcp

import (
	"encoding/base64"
	"mime"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// contentsOf is a resource's content as a part, or as text.
func contentsOf(r *sdk.ResourceContents) (*content.Part, *string) {
	if len(r.Blob) > 0 {
		return media(r.MIMEType, r.Blob), nil
	}
	text := abi.Clean(r.Text, len(r.Text))
	return nil, &text
}

func media(kind string, data []byte) *content.Part {
	parsed, _, err := mime.ParseMediaType(abi.Line(kind, 256))
	if err != nil {
		parsed = "application/octet-stream"
	}
	p := content.NewMediaPart(parsed, "data:"+parsed+";base64,"+base64.StdEncoding.EncodeToString(data))
	return &p
}

// partsOf is content as parts.
func partsOf(pieces ...sdk.Content) []content.Part {
	var parts []content.Part
	for _, piece := range pieces {
		part, text := partOf(piece)
		switch {
		case part != nil:
			parts = append(parts, *part)
		case text != nil:
			parts = append(parts, content.NewTextPart(*text))
		}
	}
	return parts
}
