package mcp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/url"
	"strconv"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// contents are Genkit's parts in MCP's form. Requests and responses of tools have none, and are left out.
func contents(parts []content.Part) []sdk.Content {
	var all []sdk.Content
	for i, p := range parts {
		if c := contentOf(p, i); c != nil {
			all = append(all, c)
		}
	}
	return all
}

func contentOf(p content.Part, i int) sdk.Content {
	switch {
	case p.Text != nil:
		return &sdk.TextContent{Text: abi.Clean(*p.Text, len(*p.Text))}
	case p.Reasoning != nil:
		return nil
	case p.Media != nil:
		return mediaOf(*p.Media, i)
	case p.Resource != nil:
		return link(p.Resource.URI, "")
	case p.Data != nil:
		return &sdk.TextContent{Text: textOf(p.Data, 2*len(p.Data)+8)}
	}
	return nil
}

func link(uri, mimeType string) sdk.Content {
	uri = abi.Line(uri, 8<<10)
	return &sdk.ResourceLink{URI: uri, Name: uri, MIMEType: abi.Line(mimeType, 256)}
}

// mediaOf is an image, a sound or another file by its bytes, where the part has them, else a link.
func mediaOf(m content.Media, i int) sdk.Content {
	mimeType, data, ok := dataURL(m.URL)
	if !ok {
		if strings.HasPrefix(m.URL, "data:") {
			return &sdk.TextContent{Text: "(media that can't be read)"}
		}
		return link(m.URL, m.ContentType)
	}
	if m.ContentType != "" {
		mimeType = abi.Line(m.ContentType, 256)
	}
	switch {
	case strings.HasPrefix(mimeType, "image/"):
		return &sdk.ImageContent{Data: data, MIMEType: mimeType}
	case strings.HasPrefix(mimeType, "audio/"):
		return &sdk.AudioContent{Data: data, MIMEType: mimeType}
	}
	return &sdk.EmbeddedResource{Resource: &sdk.ResourceContents{URI: "genkit-wasm:part/" + strconv.Itoa(i), MIMEType: mimeType, Blob: data}}
}

// dataURL reads a data: URL.
func dataURL(text string) (mimeType string, data []byte, ok bool) {
	rest, ok := strings.CutPrefix(text, "data:")
	if !ok {
		return "", nil, false
	}
	head, body, ok := strings.Cut(rest, ",")
	if !ok {
		return "", nil, false
	}
	head, encoded := strings.CutSuffix(head, ";base64")
	mimeType, _, err := mime.ParseMediaType(head)
	if err != nil {
		mimeType = "text/plain"
	}
	if !encoded {
		plain, err := url.PathUnescape(body)
		return mimeType, []byte(plain), err == nil
	}
	if data, err = base64.StdEncoding.DecodeString(body); err != nil {
		data, err = base64.RawStdEncoding.DecodeString(body)
	}
	return mimeType, data, err == nil
}

// textOf is JSON as text: that of a string, or the JSON itself, with nothing hidden in it.
func textOf(raw json.RawMessage, limit int) string {
	var text string
	if trimmed := bytes.TrimSpace(raw); len(trimmed) > 0 && trimmed[0] == '"' && json.Unmarshal(trimmed, &text) == nil {
		return abi.Clean(text, limit)
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return ""
	}
	return abi.Clean(string(abi.Escape(b.Bytes())), limit)
}
