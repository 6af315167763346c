package mcp

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"slices"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

const (
	pageSize       = 200
	maxDescription = 16 << 10
)

// listed lists the registry, as often and as many at a time as may be. What can't be listed is missing, and logged.
func (f *Face) listed(ctx context.Context) ([]action.Desc, error) {
	done, err := f.c.List(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	descs, failed := f.c.Registry.List(ctx)
	if ctx.Err() != nil {
		return nil, status.Errorf(status.Cancelled, "list the actions: %w", context.Cause(ctx))
	}
	if failed != nil {
		f.c.Log.WarnContext(ctx, "some actions can't be listed", slog.Any("error", failed))
	}
	descs, odd := registry.Readable(descs)
	if odd != nil {
		f.c.Log.WarnContext(ctx, "some actions can't be shown", slog.Any("error", odd))
	}
	return descs, nil
}

// tools returns the tools, each once: a plain one in its first form.
func tools(descs []action.Desc) []action.Desc {
	plain := map[string]bool{}
	for _, d := range descs {
		if d.Kind == action.Tool {
			plain[d.Name] = true
		}
	}
	return slices.DeleteFunc(descs, func(d action.Desc) bool {
		return d.Kind != action.Tool && (d.Kind != action.ToolV2 || plain[d.Name])
	})
}

func only(descs []action.Desc, kind action.Kind) []action.Desc {
	return slices.DeleteFunc(descs, func(d action.Desc) bool { return d.Kind != kind })
}

// page returns the page of a list after a cursor, which is the name of the last one before, and the next cursor.
func page(descs []action.Desc, cursor string) ([]action.Desc, string, error) {
	byName := func(a, b action.Desc) int { return cmp.Compare(wireName(a.Name), wireName(b.Name)) }
	slices.SortFunc(descs, byName)
	if cursor != "" {
		last, err := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil || len(last) > maxName || !valid(string(last)) {
			return nil, "", status.Publicf(status.InvalidArgument, "the cursor is none of this list")
		}
		from, found := slices.BinarySearchFunc(descs, string(last), func(d action.Desc, name string) int { return cmp.Compare(wireName(d.Name), name) })
		if found {
			from++
		}
		descs = descs[from:]
	}
	if len(descs) <= pageSize {
		return descs, "", nil
	}
	descs = descs[:pageSize]
	return descs, base64.RawURLEncoding.EncodeToString([]byte(wireName(descs[pageSize-1].Name))), nil
}

func (f *Face) listTools(ctx context.Context, p *sdk.ListToolsParams) (sdk.Result, error) {
	descs, err := f.listed(ctx)
	if err != nil {
		return nil, f.failure(err)
	}
	descs, next, err := page(tools(descs), cursorOf(p))
	if err != nil {
		return nil, f.failure(err)
	}
	result := &sdk.ListToolsResult{Tools: make([]*sdk.Tool, len(descs)), NextCursor: next, Cacheable: sdk.Cacheable{CacheScope: "private"}}
	for i, d := range descs {
		result.Tools[i] = f.tool(d)
	}
	return result, nil
}

func cursorOf(p *sdk.ListToolsParams) string {
	if p == nil {
		return ""
	}
	return p.Cursor
}

// tool is a tool as clients see it.
func (f *Face) tool(d action.Desc) *sdk.Tool {
	hints, known := f.c.Hints(d.Key())
	in, _ := inputSchema(d, hints)
	t := &sdk.Tool{
		Name: wireName(d.Name), Title: abi.Line(d.Name, 256), Description: abi.Clean(d.Description, maxDescription), InputSchema: json.RawMessage(abi.Escape(in)),
	}
	if out := outputSchema(tool.OutputSchemaOf(d)); out != nil {
		t.OutputSchema = json.RawMessage(abi.Escape(out))
	}
	if known {
		t.Annotations = &sdk.ToolAnnotations{ReadOnlyHint: hints.ReadOnly, OpenWorldHint: &hints.OpenWorld}
	}
	return t
}

// find returns the action that a name of a list means.
func (f *Face) find(ctx context.Context, name string, kinds ...action.Kind) (action.Action, error) {
	if len(name) > maxName || !valid(name) {
		return nil, unknown(name)
	}
	own := readName(name)
	if hashed(name) {
		descs, err := f.listed(ctx)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(descs, func(d action.Desc) bool { return slices.Contains(kinds, d.Kind) && wireName(d.Name) == name })
		if i < 0 {
			return nil, unknown(name)
		}
		own = descs[i].Name
	}
	for _, kind := range kinds {
		a, err := f.c.Registry.Lookup(ctx, action.Key{Kind: kind, Name: own})
		if status.Of(err) == status.NotFound {
			continue
		}
		return a, err
	}
	return nil, unknown(name)
}

func unknown(name string) error {
	return status.Publicf(status.NotFound, "%q is not known here", abi.Line(name, 80))
}
