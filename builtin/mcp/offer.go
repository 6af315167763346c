package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"regexp"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Bounds of what a server lists.
const (
	maxPages            = 100
	maxOffered          = 1000     // of each kind
	maxOfferBytes       = 8 << 20  // of all schemas and descriptions
	maxSchemaBytes      = 64 << 10 // of one
	maxDescriptionBytes = 16 << 10
	maxKnown            = 4 * maxOffered
)

// offer is what a server has listed.
type offer struct {
	conn    *conn
	until   time.Time
	actions map[action.Key]action.Action
	descs   []action.Desc
	tools   map[string]definition
	size    int
}

// definition is what a server says of a tool, by the parts that may change, each as its hash.
type definition struct{ description, input, output, annotations [sha256.Size]byte }

// list asks for everything that a server says it has.
func (c *client) list(ctx context.Context, n *conn) (*offer, error) {
	o := &offer{conn: n, actions: map[action.Key]action.Action{}, tools: map[string]definition{}}
	has := &sdk.ServerCapabilities{}
	if r := n.session.InitializeResult(); r != nil && r.Capabilities != nil {
		has = r.Capabilities
	}
	ctx = withNote(ctx)
	if has.Tools != nil {
		if err := c.listTools(ctx, o); err != nil {
			return nil, err
		}
	}
	if has.Prompts != nil {
		if err := c.listPrompts(ctx, o); err != nil {
			return nil, err
		}
	}
	if has.Resources != nil {
		if err := c.listResources(ctx, o); err != nil {
			return nil, err
		}
	}
	if err := c.learn(o); err != nil {
		return nil, err
	}
	o.until = time.Now().Add(max(0, c.host.CacheTTL))
	return o, nil
}

// pages goes through the pages of a list. page returns how many it has brought, and the next one's cursor.
func (c *client) pages(ctx context.Context, what string, page func(cursor string) (n int, next string, err error)) error {
	cursor, total := "", 0
	for range maxPages {
		n, next, err := page(cursor)
		if err != nil {
			return c.convert(ctx, err)
		}
		if total += n; total > maxOffered {
			return c.failure(status.ResourceExhausted, "it lists more than %d %s", maxOffered, what)
		}
		if next == "" {
			return nil
		}
		cursor = next
	}
	return c.failure(status.ResourceExhausted, "its list of %s has more than %d pages", what, maxPages)
}

func (c *client) listTools(ctx context.Context, o *offer) error {
	return c.pages(ctx, "tools", func(cursor string) (int, string, error) {
		r, err := o.conn.session.ListTools(ctx, &sdk.ListToolsParams{Cursor: cursor})
		if err != nil {
			return 0, "", err
		}
		for _, t := range r.Tools {
			if err := o.add(c.tool(t, o)); err != nil {
				c.leftOut(ctx, "tool", t.Name, err)
			}
		}
		return len(r.Tools), r.NextCursor, o.fits(c)
	})
}

func (c *client) listPrompts(ctx context.Context, o *offer) error {
	return c.pages(ctx, "prompts", func(cursor string) (int, string, error) {
		r, err := o.conn.session.ListPrompts(ctx, &sdk.ListPromptsParams{Cursor: cursor})
		if err != nil {
			return 0, "", err
		}
		for _, p := range r.Prompts {
			if p == nil {
				continue
			}
			if err := o.add(c.prompt(p)); err != nil {
				c.leftOut(ctx, "prompt", p.Name, err)
			}
		}
		return len(r.Prompts), r.NextCursor, o.fits(c)
	})
}

func (c *client) listResources(ctx context.Context, o *offer) error {
	err := c.pages(ctx, "resources", func(cursor string) (int, string, error) {
		r, err := o.conn.session.ListResources(ctx, &sdk.ListResourcesParams{Cursor: cursor})
		if err != nil {
			return 0, "", err
		}
		for _, res := range r.Resources {
			if res == nil {
				continue
			}
			if err := o.add(c.resource(res.Name, resource.Config{URI: res.URI, Description: res.Description})); err != nil {
				c.leftOut(ctx, "resource", res.Name, err)
			}
		}
		return len(r.Resources), r.NextCursor, o.fits(c)
	})
	if err != nil {
		return err
	}
	err = c.pages(ctx, "resource templates", func(cursor string) (int, string, error) {
		r, err := o.conn.session.ListResourceTemplates(ctx, &sdk.ListResourceTemplatesParams{Cursor: cursor})
		if err != nil {
			return 0, "", err
		}
		for _, res := range r.ResourceTemplates {
			if res == nil {
				continue
			}
			if err := o.add(c.resource(res.Name, resource.Config{Template: res.URITemplate, Description: res.Description})); err != nil {
				c.leftOut(ctx, "resource template", res.Name, err)
			}
		}
		return len(r.ResourceTemplates), r.NextCursor, o.fits(c)
	})
	if status.Of(err) == status.Unimplemented { // a server may have no templates
		return nil
	}
	return err
}

// add adds an action unless there is one of the name.
func (o *offer) add(a action.Action, err error) error {
	if err != nil {
		return err
	}
	d := a.Desc()
	if o.actions[d.Key()] != nil {
		return status.Publicf(status.AlreadyExists, "it is listed twice")
	}
	o.size += len(d.Name) + len(d.Description) + len(d.InputSchema) + len(d.OutputSchema)
	for _, raw := range d.Metadata {
		o.size += len(raw)
	}
	o.actions[d.Key()] = a
	o.descs = append(o.descs, d)
	return nil
}

func (o *offer) fits(c *client) error {
	if o.size > maxOfferBytes {
		return c.failure(status.ResourceExhausted, "its lists have more than %d bytes", maxOfferBytes)
	}
	return nil
}

// leftOut logs why something is not offered, which takes nothing else away.
func (c *client) leftOut(ctx context.Context, what, name string, err error) {
	c.host.Logger.WarnContext(ctx, "a part of an MCP server is left out", slog.String("server", c.name), slog.String("kind", what), slog.String("name", abi.Line(name, 128)), slog.Any("error", err))
}

// toolName is what the protocol lets a tool be called.
var toolName = regexp.MustCompile(`^[A-Za-z0-9_./-]{1,128}$`)

// tool makes the action of a tool.
func (c *client) tool(t *sdk.Tool, o *offer) (action.Action, error) {
	if !toolName.MatchString(t.Name) {
		return nil, status.Publicf(status.InvalidArgument, "its name is not one that the protocol allows")
	}
	in, rawIn, err := schemaOf(t.InputSchema)
	if err != nil {
		return nil, err
	}
	if in == nil || !isObjectSchema(in) {
		return nil, status.Publicf(status.InvalidArgument, "its input schema does not describe an object")
	}
	out, rawOut, err := schemaOf(t.OutputSchema)
	if err != nil {
		return nil, err
	}
	annotations, err := rawjson.Encode(t.Annotations)
	if err != nil {
		return nil, err
	}
	def := definition{
		description: sha256.Sum256([]byte(t.Title + "\x00" + t.Description)),
		input:       sha256.Sum256(rawIn), output: sha256.Sum256(rawOut), annotations: sha256.Sum256(annotations),
	}
	r := &remote{c: c, name: t.Name, def: def}
	if r.output, err = compiled(out); err != nil {
		return nil, err
	}
	about := map[string]any{"server": c.name, "name": t.Name, "_meta": map[string]any{}}
	if t.Meta != nil {
		about["_meta"] = t.Meta
	}
	if t.Title != "" {
		about["title"] = abi.Line(t.Title, 256)
	}
	if t.Annotations != nil {
		about["annotations"] = t.Annotations
	}
	metadata, err := rawjson.Encode(about)
	if err != nil {
		return nil, err
	}
	more := map[string]json.RawMessage{"mcp": abi.Escape(metadata)}
	if out != nil {
		more["originalOutputSchema"] = out
	}
	a, err := tool.NewMultipartRaw(c.name+"/"+t.Name, abi.Clean(t.Description, maxDescriptionBytes), in, nil, r.run, tool.WithMetadata(more))
	if err != nil {
		return nil, err
	}
	if _, twice := o.tools[t.Name]; !twice {
		o.tools[t.Name] = def
	}
	return a, nil
}

// schemaOf is a schema cleaned, and as the server has it; nil for none.
func schemaOf(v any) (cleaned, raw json.RawMessage, err error) {
	if v == nil {
		return nil, nil, nil
	}
	if raw, err = json.Marshal(v); err != nil {
		return nil, nil, err
	}
	if len(raw) > maxSchemaBytes {
		return nil, nil, status.Publicf(status.ResourceExhausted, "a schema of it has more than %d bytes", maxSchemaBytes)
	}
	cleaned, err = abi.CleanSchema(raw)
	return cleaned, raw, err
}

func isObjectSchema(raw json.RawMessage) bool {
	var s struct {
		Type string `json:"type"`
	}
	return json.Unmarshal(raw, &s) == nil && s.Type == "object"
}

// learn compares the tools of an offer with those that are known, and takes in those that are new.
func (c *client) learn(o *offer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, def := range o.tools {
		if _, known := c.known[name]; !known {
			c.known[name] = def
		}
	}
	if len(c.known) > maxKnown {
		return c.failure(status.ResourceExhausted, "it has listed more than %d tools of different names", maxKnown)
	}
	return nil
}
