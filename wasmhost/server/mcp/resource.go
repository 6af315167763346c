package mcp

import (
	"context"
	"encoding/json"
	"strings"
	"unicode/utf8"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

const maxURI = 8 << 10

// address is how a resource is asked for: by its URI, or by one that its template matches.
type address struct {
	URI      string `json:"uri"`
	Template string `json:"template"`
}

func addressOf(d action.Desc) (a address) {
	_ = json.Unmarshal(d.Metadata["resource"], &a) // one without an address is not listed
	return a
}

// resources lists those with a URI, or those with a template.
func (f *Face) resources(ctx context.Context, cursor string, templates bool) ([]action.Desc, string, error) {
	descs, err := f.listed(ctx)
	if err != nil {
		return nil, "", f.failure(err)
	}
	var chosen []action.Desc
	for _, d := range only(descs, action.Resource) {
		if a := addressOf(d); (a.URI == "" && a.Template != "" && templates) || (a.URI != "" && !templates) {
			chosen = append(chosen, d)
		}
	}
	chosen, next, err := page(chosen, cursor)
	if err != nil {
		return nil, "", f.failure(err)
	}
	return chosen, next, nil
}

func (f *Face) listResources(ctx context.Context, p *sdk.ListResourcesParams) (sdk.Result, error) {
	cursor := ""
	if p != nil {
		cursor = p.Cursor
	}
	descs, next, err := f.resources(ctx, cursor, false)
	if err != nil {
		return nil, err
	}
	result := &sdk.ListResourcesResult{Resources: make([]*sdk.Resource, len(descs)), NextCursor: next, Cacheable: sdk.Cacheable{CacheScope: "private"}}
	for i, d := range descs {
		result.Resources[i] = &sdk.Resource{URI: addressOf(d).URI, Name: abi.Line(d.Name, 256), Description: abi.Clean(d.Description, maxDescription)}
	}
	return result, nil
}

func (f *Face) listTemplates(ctx context.Context, p *sdk.ListResourceTemplatesParams) (sdk.Result, error) {
	cursor := ""
	if p != nil {
		cursor = p.Cursor
	}
	descs, next, err := f.resources(ctx, cursor, true)
	if err != nil {
		return nil, err
	}
	result := &sdk.ListResourceTemplatesResult{ResourceTemplates: make([]*sdk.ResourceTemplate, len(descs)), NextCursor: next, Cacheable: sdk.Cacheable{CacheScope: "private"}}
	for i, d := range descs {
		result.ResourceTemplates[i] = &sdk.ResourceTemplate{URITemplate: addressOf(d).Template, Name: abi.Line(d.Name, 256), Description: abi.Clean(d.Description, maxDescription)}
	}
	return result, nil
}

func (f *Face) readResource(ctx context.Context, p *sdk.ReadResourceParams) (sdk.Result, error) {
	inner, stop := f.running(ctx)
	defer stop()
	missing := status.Publicf(status.NotFound, "there is no resource %q", abi.Line(p.URI, 256))
	if len(p.URI) > maxURI {
		return nil, f.failure(missing)
	}
	descs, err := f.listed(inner)
	if err != nil {
		return nil, f.failure(err)
	}
	d, ok := resource.Find(descs, p.URI)
	if !ok {
		return nil, f.failure(missing)
	}
	a, err := f.c.Registry.Lookup(inner, d.Key())
	if err != nil {
		return nil, f.failure(err)
	}
	in, err := rawjson.Encode(resource.Input{URI: p.URI})
	if err != nil {
		return nil, f.failure(err)
	}
	raw, err := f.c.Run(inner, a, in, nil)
	if err != nil {
		return nil, f.failure(err)
	}
	var out resource.Output
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, f.failure(status.Errorf(status.Internal, "output of resource %q: %w", d.Name, err))
	}
	result := &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{}, Cacheable: sdk.Cacheable{CacheScope: "private"}}
	for _, part := range out.Content {
		if c := resourceContents(p.URI, part); c != nil {
			result.Contents = append(result.Contents, c)
		}
	}
	return result, nil
}

func resourceContents(uri string, p content.Part) *sdk.ResourceContents {
	switch {
	case p.Text != nil:
		return &sdk.ResourceContents{URI: uri, MIMEType: "text/plain", Text: abi.Clean(*p.Text, len(*p.Text))}
	case p.Data != nil:
		return &sdk.ResourceContents{URI: uri, MIMEType: "application/json", Text: textOf(p.Data, 2*len(p.Data)+8)}
	case p.Media != nil:
		mimeType, data, ok := dataURL(p.Media.URL)
		if !ok {
			return &sdk.ResourceContents{URI: uri, MIMEType: "text/uri-list", Text: abi.Line(p.Media.URL, maxURI)}
		}
		if strings.HasPrefix(mimeType, "text/") && utf8.Valid(data) {
			return &sdk.ResourceContents{URI: uri, MIMEType: mimeType, Text: abi.Clean(string(data), len(data))}
		}
		return &sdk.ResourceContents{URI: uri, MIMEType: mimeType, Blob: data}
	}
	return nil
}
