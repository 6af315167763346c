package wasmhost

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

// Analysis is the result of reading an upload, before anything of it runs.
type Analysis struct {
	Digest       string          // "sha256:" and 64 hexadecimal digits
	Language     script.Language // of a script, empty for a module: then there are no sections, imports and exports
	Size         int             // bytes
	Sections     []Section
	Imports      []abi.Import
	Exports      []string // the functions, by name, sorted; foreign text
	Linkage      *abi.Linkage
	Descriptor   *abi.Descriptor // nil when only genkit_describe can tell
	DescriptorIn string          // "section", "sidecar", "export" or ""

	module *inspect.Module
	raw    []byte // the descriptor as it came; nil when Descriptor is
}

// Section is a section of a module, under the name that the specification gives it.
type Section struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"`
}

// Analyze parses and links an upload without compiling or running it. It fails with
// INVALID_ARGUMENT when the module or its descriptor is not acceptable.
func Analyze(wasm, sidecar []byte, limits UploadLimits) (*Analysis, error) {
	return analyze(wasm, sidecar, limits, abi.ParseDescriptor)
}

func analyze(wasm, sidecar []byte, limits UploadLimits, parse func([]byte) (*abi.Descriptor, error)) (*Analysis, error) {
	m, err := inspect.Parse(wasm, limits)
	if err != nil {
		return nil, refusal(err)
	}
	if m.Kind() == inspect.KindCommand && (!hasTools(m) || isGoCommand(m)) {
		return nil, errCommand()
	}
	a := &Analysis{Digest: module.Digest(wasm), Size: m.Size, Imports: imports(m), module: m}
	for _, s := range m.Sections {
		a.Sections = append(a.Sections, Section{inspect.SectionName(s.ID), s.End - s.Offset})
	}
	for _, e := range m.Exports {
		if e.Kind == inspect.ExternFunc {
			a.Exports = append(a.Exports, e.Name)
		}
	}
	slices.Sort(a.Exports)
	if a.Linkage, err = abi.Link(a.Imports); err != nil {
		return nil, err
	}
	raw, source := sidecar, "sidecar"
	if len(raw) == 0 {
		section, found, err := m.CustomSection(abi.DescriptorSection)
		if err != nil {
			return nil, refusal(err)
		}
		if !found {
			if _, ok := m.Export(abi.DescribeExport); ok {
				a.DescriptorIn = "export"
			}
			return a, nil
		}
		raw, source = bytes.TrimRight(section, "\x00"), "section"
	}
	a.DescriptorIn = source
	return a, a.describe(raw, parse)
}

// describe takes a descriptor, and wants the exports that it names.
func (a *Analysis) describe(raw []byte, parse func([]byte) (*abi.Descriptor, error)) (err error) {
	if a.Descriptor, err = parse(raw); err != nil {
		return err
	}
	a.raw = raw
	return checkExports(a.module, a.Descriptor)
}

func errCommand() error {
	return status.Publicf(status.InvalidArgument, "the module is a WASI command (it exports _start and not _initialize); build it as a reactor: Go with -buildmode=c-shared, clang with -mexec-model=reactor, Rust as a cdylib")
}

// isGoCommand reports whether a command was built by Go's own toolchain, as its linker
// notes in the section "producers". Its exports work only while its main runs.
func isGoCommand(m *inspect.Module) bool {
	producers, found, err := m.CustomSection("producers")
	return err == nil && found && bytes.Contains(producers, []byte("Go cmd/compile"))
}

// hasTools reports whether anything besides _start can be called. TinyGo's Extism
// plug-ins export _start beside their functions and never have it run.
func hasTools(m *inspect.Module) bool {
	return slices.ContainsFunc(m.Exports, func(e inspect.Export) bool {
		return e.Kind == inspect.ExternFunc && e.Name != "_start" && isTool(m.FuncType(e.Index)) && !strings.HasPrefix(e.Name, "__")
	})
}

// isTool reports whether a function has a type that can be called as a tool.
func isTool(t inspect.FuncType) bool {
	return len(t.Params) == 0 && (len(t.Results) == 0 || (len(t.Results) == 1 && t.Results[0] == inspect.I32))
}

func refusal(err error) error {
	r, ok := err.(*inspect.Refusal) //nolint:errorlint // Parse returns nothing else
	if !ok {
		return status.Errorf(status.Internal, "inspect: %w", err)
	}
	text := r.Error()
	if r.Hint != "" {
		text += "; " + r.Hint
	}
	return status.Publicf(status.InvalidArgument, "module refused: %s", text).
		WithDetails(map[string]any{"code": r.Code, "offset": r.Offset, "hint": r.Hint})
}

func imports(m *inspect.Module) []abi.Import {
	list := make([]abi.Import, len(m.Imports))
	for i, imp := range m.Imports {
		list[i] = abi.Import{Module: imp.Module, Name: imp.Name, Signature: signature(m.Types[imp.Type])}
	}
	return list
}

// signature writes a type as "(i32,i32)->(i32)".
func signature(t inspect.FuncType) string {
	list := func(types []inspect.ValType) string {
		names := make([]string, len(types))
		for i, v := range types {
			names[i] = v.String()
		}
		return "(" + strings.Join(names, ",") + ")"
	}
	return list(t.Params) + "->" + list(t.Results)
}

// checkExports wants the function of each part that has one, of a type that can be called.
func checkExports(m *inspect.Module, d *abi.Descriptor) error {
	for _, t := range d.Tools {
		check := checkExport
		if t.WIT != "" {
			check = checkWIT
		}
		if err := check(m, "tool", t.Name, t.Export); err != nil {
			return err
		}
	}
	for _, w := range d.Middleware {
		if err := checkExport(m, "middleware", w.Name, w.Export); err != nil {
			return err
		}
	}
	for _, f := range d.Formats {
		if err := checkExport(m, "format", f.Name, f.Export); err != nil {
			return err
		}
	}
	for kind, a := range d.Actions() {
		if a.Export == "" { // a prompt
			continue
		}
		if err := checkExport(m, kind, a.Name, a.Export); err != nil {
			return err
		}
	}
	return nil
}

// checkWIT wants the functions of the canonical ABI that a tool of WIT's strings has.
func checkWIT(m *inspect.Module, noun, name, export string) error {
	if slices.ContainsFunc(m.Imports, func(i inspect.Import) bool { return i.Module == abi.ModuleExtism || i.Module == abi.ModuleExtismUser }) {
		return status.Publicf(status.InvalidArgument, "%s %q has \"wit\", and the module speaks Extism's convention; a module speaks one", noun, name)
	}
	if e, ok := m.Export("memory"); !ok || e.Kind != inspect.ExternMemory {
		return status.Publicf(status.InvalidArgument, "%s %q has \"wit\", and the module exports no \"memory\"", noun, name)
	}
	for _, want := range []struct {
		export, typ string
		optional    bool
	}{{export, "(i32,i32)->(i32)", false}, {abi.WITRealloc, "(i32,i32,i32,i32)->(i32)", false}, {abi.WITPost + export, "(i32)->()", true}} {
		e, ok := m.Export(want.export)
		switch {
		case !ok && want.optional:
		case !ok || e.Kind != inspect.ExternFunc:
			return status.Publicf(status.InvalidArgument, "%s %q has \"wit\", and the module does not export the function %q", noun, name, abi.Line(want.export, 80))
		case signature(m.FuncType(e.Index)) != want.typ:
			return status.Publicf(status.InvalidArgument, "export %q of %s %q has the type %s, want %s", abi.Line(want.export, 80), noun, name, signature(m.FuncType(e.Index)), want.typ)
		}
	}
	return nil
}

func checkExport(m *inspect.Module, noun, name, export string) error {
	e, ok := m.Export(export)
	if !ok || e.Kind != inspect.ExternFunc {
		return status.Publicf(status.InvalidArgument, "%s %q names the export %q, which the module does not have", noun, name, abi.Line(export, 80))
	}
	if export == "_start" {
		return errCommand()
	}
	typ := m.FuncType(e.Index)
	if !isTool(typ) {
		return status.Publicf(status.InvalidArgument, "export %q of %s %q has the type %s, want ()->(i32)", abi.Line(export, 80), noun, name, signature(typ))
	}
	return nil
}

// Describe is [Analyze] that also asks a module which only its own genkit_describe can
// describe: it compiles the module, initialises it and calls that export once, with the
// default limits and with nothing granted, in a sandbox of its own. compiler is that of
// [CompileChild], empty to compile in this process. It fails as [Host.Load] does, but
// for what a policy does not grant.
func Describe(ctx context.Context, wasm, sidecar []byte, compiler []string) (a *Analysis, err error) {
	if a, err = Analyze(wasm, sidecar, UploadLimits{}); err != nil || a.DescriptorIn != "export" {
		return a, err
	}
	return a, a.ask(ctx, sandbox.Source{
		Wasm: wasm, Module: a.module, Limits: sandboxLimits(policy.Defaults()),
		Original: func(context.Context) ([]byte, error) { return wasm, nil },
	}, compiler)
}

// ask takes the descriptor from a guest in a sandbox of its own, where only the guest has it.
func (a *Analysis) ask(ctx context.Context, src sandbox.Source, compiler []string) error {
	if a.DescriptorIn != "export" {
		return nil
	}
	sb, err := sandbox.New(ctx, sandbox.Config{Compiler: compiler})
	if err != nil {
		return err
	}
	defer sb.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing in it is needed any more
	guest, err := sb.Compile(ctx, src)
	if err != nil {
		return err
	}
	defer guest.Close()
	raw, err := ask(ctx, guest, nil)
	if err != nil {
		return err
	}
	return a.describe(raw, abi.ParseDescriptor)
}

// ask calls a guest's genkit_describe; place is given back while the guest waits.
func ask(ctx context.Context, guest running, place share.Place) ([]byte, error) {
	res, err := guest.Call(ctx, sandbox.Call{Export: abi.DescribeExport, MaxOutput: abi.MaxDescriptorBytes, Place: place})
	if err != nil {
		e := status.Convert(err)
		if !e.Public() {
			return nil, e
		}
		return nil, status.Publicf(status.InvalidArgument, "%s failed: %s", abi.DescribeExport, e.Message).WithCause(err)
	}
	return res.Output, nil
}
