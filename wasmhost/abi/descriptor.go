// Package abi is the Go form of the contract between host and module, genkit/1:
// the descriptor, the imports that each calling convention may have, the replies
// of capabilities and the errors of guests. pdk/abi.md is the normative text.
//
// It owns names and shapes only; it runs nothing. Use:
//
//	d, err := abi.ParseDescriptor(raw)
//	link, err := abi.Link(module.Imports)
//
// Everything here is safe for concurrent use.
package abi

import (
	"encoding/json"
	"regexp"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Version is the contract that this package speaks.
const Version = "genkit/1"

// Where a descriptor is found in a module.
const (
	// DescriptorSection is the custom section that holds the descriptor.
	DescriptorSection = "genkit.module"
	// DescribeExport is the function that outputs the descriptor.
	DescribeExport = "genkit_describe"
)

// Descriptor lists the tools, middleware, formats and other actions of a module.
type Descriptor struct {
	ABI         string       `json:"abi"`
	Name        string       `json:"name"`
	Version     string       `json:"version,omitempty"`
	Description string       `json:"description,omitempty"`
	Tools       []Tool       `json:"tools,omitempty"`
	Middleware  []Middleware `json:"middleware,omitempty"`
	Formats     []Format     `json:"formats,omitempty"`
	Embedders   []Action     `json:"embedders,omitempty"`
	Evaluators  []Action     `json:"evaluators,omitempty"`
	Retrievers  []Action     `json:"retrievers,omitempty"`
	Indexers    []Action     `json:"indexers,omitempty"`
	Rerankers   []Action     `json:"rerankers,omitempty"`
	Models      []Action     `json:"models,omitempty"`
	Resources   []Action     `json:"resources,omitempty"`
	Prompts     []Action     `json:"prompts,omitempty"`
	// Requests lists the grants that the module asks for. It grants
	// nothing.
	Requests json.RawMessage `json:"requests,omitempty"`
}

// IO says how a tool's bytes map to JSON.
type IO string

// The mappings.
const (
	// IOJSON passes the raw JSON value in and out.
	IOJSON IO = "json"
	// IOText passes a JSON string's text in; the text that comes back is a
	// JSON string, or JSON when it parses and an output schema is given.
	IOText IO = "text"
)

// Tool describes one tool.
type Tool struct {
	Name         string                     `json:"name"`
	Description  string                     `json:"description,omitempty"`
	Export       string                     `json:"export,omitempty"` // the function; Name when empty
	IO           IO                         `json:"io,omitempty"`     // json when empty
	InputSchema  json.RawMessage            `json:"inputSchema,omitempty"`
	OutputSchema json.RawMessage            `json:"outputSchema,omitempty"` // of a multipart tool: of its "output"
	Multipart    bool                       `json:"multipart,omitempty"`
	WIT          WIT                        `json:"wit,omitempty"` // the export is of the canonical ABI; else () -> i32
	Metadata     map[string]json.RawMessage `json:"metadata,omitempty"`
}

// WIT is the type of a tool's function in WIT's words.
type WIT string

// The types.
const (
	WITString WIT = "string" // func(input: string) -> string
	WITResult WIT = "result" // func(input: string) -> result<string, string>
)

// Exports of the canonical ABI beside a tool's function.
const (
	WITRealloc = "cabi_realloc" // (i32,i32,i32,i32)->(i32)
	WITPost    = "cabi_post_"   // before the function's name: (i32)->()
)

// Hook is a place in a generate call where middleware stands.
type Hook string

// The hooks.
const (
	HookGenerate Hook = "generate" // an iteration of the loop and those after it
	HookModel    Hook = "model"    // a call of the model
	HookTool     Hook = "tool"     // an execution of a tool
)

// Chunks says how a middleware treats the chunks of the model or tool that it wraps.
type Chunks string

// The ways.
const (
	// ChunksWithhold drops them: only what the guest emits is streamed. It is
	// what a middleware needs that changes or hides what a model says.
	ChunksWithhold Chunks = "withhold"
	// ChunksPass passes them by the guest to the caller.
	ChunksPass Chunks = "pass"
)

// Middleware describes one middleware.
type Middleware struct {
	Name         string          `json:"name"`
	Description  string          `json:"description,omitempty"`
	Export       string          `json:"export,omitempty"` // the function; Name when empty
	Hooks        []Hook          `json:"hooks"`
	ConfigSchema json.RawMessage `json:"configSchema,omitempty"`
	Chunks       Chunks          `json:"chunks,omitempty"` // withhold when empty
}

// Format describes one output format.
type Format struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Export      string `json:"export,omitempty"` // the function; Name when empty
	ContentType string `json:"contentType,omitempty"`
	// Constrained asks the model to enforce the schema.
	Constrained bool `json:"constrained,omitempty"`
	// DefaultInstructions is false for a format whose instructions are given only
	// when the caller asks for them (Genkit's defaultInstructions).
	DefaultInstructions *bool `json:"defaultInstructions,omitempty"`
	// Chunks is set when the guest reads output while it streams.
	Chunks bool `json:"chunks,omitempty"`
}

var (
	moduleName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	toolName   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)
)

// CheckModuleName refuses names that can't be part of a key, a path and a model's
// tool name: 1 to 64 of the letters A-Z a-z, digits, "_", "." and "-", starting
// with a letter or digit.
func CheckModuleName(name string) error {
	if !moduleName.MatchString(name) {
		return status.Publicf(status.InvalidArgument, "module name %q: want 1 to 64 letters, digits, \"_\", \".\" or \"-\", starting with a letter or digit", Clean(name, 80))
	}
	return nil
}

// ParseDescriptor decodes and checks a descriptor: its size, its names, that no
// name is given twice, that every schema compiles. Texts come back cleaned (see
// [Clean]). It fails with INVALID_ARGUMENT.
func ParseDescriptor(raw []byte) (*Descriptor, error) { return parseDescriptor(raw) }

// ParseStored is ParseDescriptor for what passed it before: its schemas are compiled when
// they are first used.
func ParseStored(raw []byte) (*Descriptor, error) { return parseDescriptor(raw, schema.Deferred()) }

func parseDescriptor(raw []byte, options ...schema.Option) (*Descriptor, error) {
	if len(raw) > MaxDescriptorBytes {
		return nil, status.Publicf(status.InvalidArgument, "descriptor of %d bytes exceeds the limit of %d", len(raw), MaxDescriptorBytes)
	}
	var d Descriptor
	if err := schema.Decode(raw, &d, schema.IgnoreUnknown); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "descriptor: %w", err)
	}
	if err := d.check(options); err != nil {
		return nil, err
	}
	return &d, nil
}

// SchemaSize is the size of all its schemas together, which has the limits of one.
func (d *Descriptor) SchemaSize() (size schema.Size) {
	for i := range d.Tools {
		size = size.Add(schema.SizeOf(d.Tools[i].InputSchema)).Add(schema.SizeOf(d.Tools[i].OutputSchema))
	}
	for i := range d.Middleware {
		size = size.Add(schema.SizeOf(d.Middleware[i].ConfigSchema))
	}
	for _, a := range d.Actions() {
		size = size.Add(schema.SizeOf(a.ConfigSchema))
	}
	return size
}

func (d *Descriptor) check(options []schema.Option) error {
	if d.ABI != Version {
		return status.Publicf(status.InvalidArgument, "descriptor: \"abi\" is %q, want %q", Clean(d.ABI, 40), Version)
	}
	if d.Name != "" {
		if err := CheckModuleName(d.Name); err != nil {
			return err
		}
	}
	if d.empty() {
		return status.Publicf(status.InvalidArgument, "descriptor: \"tools\" is empty, and so is every other list; name at least one tool, or one of what else a module may offer")
	}
	if err := d.SchemaSize().Modest(); err != nil {
		return status.Publicf(status.InvalidArgument, "descriptor: its schemas together have %w", err)
	}
	d.Version = Clean(d.Version, 64)
	d.Description = Clean(d.Description, MaxDescriptionBytes)
	if err := checkList("tool", d.Tools, func(t *Tool) error { return t.check(options) }, func(t *Tool) string { return t.Name }); err != nil {
		return err
	}
	if err := checkList("middleware", d.Middleware, func(m *Middleware) error { return m.check(options) }, func(m *Middleware) string { return m.Name }); err != nil {
		return err
	}
	if err := checkList("format", d.Formats, (*Format).check, func(f *Format) string { return f.Name }); err != nil {
		return err
	}
	return d.checkActions(options)
}

// empty reports whether the module offers nothing.
func (d *Descriptor) empty() bool {
	for range d.Actions() {
		return false
	}
	return len(d.Tools)+len(d.Middleware)+len(d.Formats) == 0
}

// checkList checks each of a list and that no name is given twice.
func checkList[T any](noun string, list []T, check func(*T) error, name func(*T) string) error {
	if len(list) > MaxTools {
		return status.Publicf(status.InvalidArgument, "descriptor: %d %ss exceed the limit of %d", len(list), noun, MaxTools)
	}
	seen := map[string]bool{}
	for i := range list {
		if n := name(&list[i]); !toolName.MatchString(n) {
			return status.Publicf(status.InvalidArgument, "descriptor: %s name %q: want 1 to 64 letters, digits, \"_\", \".\" or \"-\"", noun, Clean(n, 80))
		} else if seen[n] {
			return status.Publicf(status.InvalidArgument, "descriptor: %s %q is named twice", noun, n)
		} else {
			seen[n] = true
		}
		if err := check(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

func (m *Middleware) check(options []schema.Option) error {
	if m.Export == "" {
		m.Export = m.Name
	}
	if m.Chunks == "" {
		m.Chunks = ChunksWithhold
	}
	m.Description = Clean(m.Description, MaxDescriptionBytes)
	if len(m.Hooks) == 0 {
		return status.Publicf(status.InvalidArgument, "descriptor: middleware %q has no hooks; want some of \"generate\", \"model\" and \"tool\"", m.Name)
	}
	for i, h := range m.Hooks {
		if h != HookGenerate && h != HookModel && h != HookTool {
			return status.Publicf(status.InvalidArgument, "descriptor: middleware %q: hook %q: want \"generate\", \"model\" or \"tool\"", m.Name, Clean(string(h), 40))
		}
		if slices.Contains(m.Hooks[:i], h) {
			return status.Publicf(status.InvalidArgument, "descriptor: middleware %q names the hook %q twice", m.Name, h)
		}
	}
	if m.Chunks != ChunksWithhold && m.Chunks != ChunksPass {
		return status.Publicf(status.InvalidArgument, "descriptor: middleware %q: \"chunks\" is %q, want \"withhold\" or \"pass\"", m.Name, Clean(string(m.Chunks), 40))
	}
	if _, err := schema.Compile(m.ConfigSchema, options...); err != nil {
		return status.Publicf(status.InvalidArgument, "descriptor: config schema of middleware %q: %w", m.Name, err)
	}
	return nil
}

func (f *Format) check() error {
	if f.Export == "" {
		f.Export = f.Name
	}
	f.Description = Clean(f.Description, MaxDescriptionBytes)
	f.ContentType = Line(f.ContentType, 200)
	return nil
}

func (t *Tool) check(options []schema.Option) error {
	if t.Export == "" {
		t.Export = t.Name
	}
	switch t.IO {
	case "":
		t.IO = IOJSON
	case IOJSON, IOText:
	default:
		return status.Publicf(status.InvalidArgument, "descriptor: tool %q: \"io\" is %q, want \"json\" or \"text\"", t.Name, Clean(string(t.IO), 40))
	}
	if t.WIT != "" && t.WIT != WITString && t.WIT != WITResult {
		return status.Publicf(status.InvalidArgument, "descriptor: tool %q: \"wit\" is %q, want \"string\" or \"result\"", t.Name, Clean(string(t.WIT), 40))
	}
	if t.Multipart && t.IO == IOText {
		return status.Publicf(status.InvalidArgument, "descriptor: tool %q: a multipart tool returns an object, so its \"io\" must be \"json\"", t.Name)
	}
	t.Description = Clean(t.Description, MaxDescriptionBytes)
	for _, s := range []*json.RawMessage{&t.InputSchema, &t.OutputSchema} {
		cleaned, err := CleanSchema(*s)
		if err != nil {
			return status.Publicf(status.InvalidArgument, "descriptor: tool %q: %w", t.Name, err)
		}
		*s = cleaned
	}
	if _, err := schema.Compile(t.InputSchema, options...); err != nil {
		return status.Publicf(status.InvalidArgument, "descriptor: input schema of tool %q: %w", t.Name, err)
	}
	if _, err := schema.Compile(t.OutputSchema, options...); err != nil {
		return status.Publicf(status.InvalidArgument, "descriptor: output schema of tool %q: %w", t.Name, err)
	}
	return nil
}
