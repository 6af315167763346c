package wasmhost

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

// A script goes the way of a module whose code is that of the engine: the script is what the engine's initialisation
// reads. What is stored of it is its text or its archive, as it was uploaded.

// scriptEngine is the module that runs scripts, made when it is first asked for.
type scriptEngine struct {
	made func() (*inspect.Module, error)
}

func newScriptEngine(file []byte) *scriptEngine {
	if file == nil {
		return nil
	}
	return &scriptEngine{sync.OnceValues(func() (*inspect.Module, error) {
		wasm, err := script.Engine(file)
		if err != nil {
			return nil, err
		}
		m, err := inspect.Parse(wasm, inspect.Limits{})
		if err != nil {
			return nil, status.Errorf(status.Internal, "parse the engine of scripts: %w", err)
		}
		return m, nil
	})}
}

// module returns the engine; UNIMPLEMENTED where there is none.
func (e *scriptEngine) module() (*inspect.Module, error) {
	if e == nil {
		return nil, status.Publicf(status.Unimplemented, "this server has no JavaScript engine; start it with --engine javascript=FILE, where FILE is %s of the Go module %s %s, or build it with \"make build\"",
			script.EngineFile, script.EngineModule, script.EngineVersion)
	}
	return e.made()
}

// scriptText is the text of a script in service. Its methods that locate may be called on nil, where there is none.
type scriptText struct {
	compiler []string
	file     string // the name in positions
	language script.Language
	size     int
	source   func(ctx context.Context) ([]byte, error)
	engine   *inspect.Module

	mu   sync.Mutex // held while it is transformed
	made atomic.Pointer[script.Script]
}

func newScriptText(up *Upload, source func(context.Context) ([]byte, error), engine *inspect.Module, compiler []string) *scriptText {
	file := up.Name
	if file == "" {
		file = up.FallbackName
	}
	if file == "" {
		file = "script"
	}
	if up.Language != script.Package && script.LanguageOf(file) != up.Language {
		file += map[script.Language]string{script.TypeScript: ".ts", script.JavaScript: ".js"}[up.Language]
	}
	return &scriptText{compiler: compiler, file: file, language: up.Language, size: len(up.Wasm), source: source, engine: engine}
}

// transformed returns the script as its engine evaluates it, which is made when it is first asked for: a server
// with many scripts starts without transforming them all.
func (s *scriptText) transformed(ctx context.Context) (*script.Script, error) {
	if made := s.made.Load(); made != nil {
		return made, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if made := s.made.Load(); made != nil {
		return made, nil
	}
	source, err := s.source(ctx)
	if err != nil {
		return nil, err
	}
	made, err := script.TransformApart(ctx, s.compiler, s.file, s.language, source)
	if err != nil {
		return nil, err
	}
	s.made.Store(made)
	return made, nil
}

// on has src run the script.
func (s *scriptText) on(src *sandbox.Source) {
	src.Wasm, src.Module, src.Anew = s.engine.Bytes(), s.engine, false // its code is no tenant's secret
	src.Original = func(context.Context) ([]byte, error) { return s.engine.Bytes(), nil }
	src.Limits.InputBytes += script.InputOverhead
	src.Setup = script.SetupExport
	src.Seed = func(ctx context.Context) ([]byte, error) {
		made, err := s.transformed(ctx)
		if err != nil {
			return nil, err
		}
		return made.Code, nil
	}
}

// memory estimates the bytes that the script holds while it is in service: its code and the mappings of positions.
func (s *scriptText) memory() int64 {
	if s == nil {
		return 0
	}
	if s.language != script.Package {
		return 4 * int64(s.size)
	}
	if made := s.made.Load(); made != nil {
		return 4 * int64(len(made.Code))
	}
	return 8 * int64(s.size) // packed
}

// place turns places of the code that was made of the script into places of its text.
func (s *scriptText) place(text string) string {
	if s == nil {
		return text
	}
	made := s.made.Load()
	if made == nil {
		return text
	}
	return made.Locate(text)
}

// locate is place for the message of an error.
func (s *scriptText) locate(err error) error {
	if s == nil || err == nil {
		return err
	}
	e := status.Convert(err)
	if text := s.place(e.Message); text != e.Message {
		moved := *e
		moved.Message = text
		return &moved
	}
	return err
}

func (s *scriptText) analyze(ctx context.Context, up *Upload, parse func([]byte) (*abi.Descriptor, error)) (*Analysis, error) {
	if s.language != script.TypeScript && s.language != script.JavaScript && s.language != script.Package {
		return nil, status.Publicf(status.InvalidArgument, "the language %q is not known; want %q, %q or %q", abi.Line(string(s.language), 40), script.TypeScript, script.JavaScript, script.Package)
	}
	if !up.lazy {
		if _, err := s.transformed(ctx); err != nil {
			return nil, err
		}
	}
	a := &Analysis{
		Digest: module.Digest(up.Wasm), Size: len(up.Wasm), Language: s.language, module: s.engine,
		Linkage: &abi.Linkage{Convention: abi.Native, UsesWASI: true}, DescriptorIn: "export",
	}
	if len(up.Descriptor) == 0 {
		return a, nil
	}
	a.DescriptorIn = "sidecar"
	return a, a.describe(up.Descriptor, parse)
}

// completeScript checks that a descriptor is one of a script, and takes from its requests which capabilities the
// script uses: its engine imports them all.
func (a *Analysis) completeScript() error {
	d := a.Descriptor
	for _, t := range d.Tools {
		if t.Export != script.CallExport || t.IO != abi.IOJSON {
			return status.Publicf(status.InvalidArgument, "tool %q of a script wants \"export\": %q, and \"io\": \"json\"", t.Name, script.CallExport)
		}
	}
	for kind, a := range d.Actions() {
		if kind != string(action.Prompt) && a.Export != script.CallExport {
			return status.Publicf(status.InvalidArgument, "%s %q of a script wants \"export\": %q", kind, a.Name, script.CallExport)
		}
	}
	for _, m := range d.Middleware {
		if m.Export != script.CallExport {
			return status.Publicf(status.InvalidArgument, "middleware %q of a script wants \"export\": %q", m.Name, script.CallExport)
		}
	}
	for _, f := range d.Formats {
		if f.Export != script.CallExport {
			return status.Publicf(status.InvalidArgument, "format %q of a script wants \"export\": %q", f.Name, script.CallExport)
		}
	}
	var requests struct {
		HTTP     []json.RawMessage `json:"http"`
		KV       bool              `json:"kv"`
		Generate []string          `json:"generate"`
		Actions  []string          `json:"actions"`
		Clock    bool              `json:"clock"`
	}
	if len(d.Requests) > 0 && json.Unmarshal(d.Requests, &requests) != nil {
		return status.Publicf(status.InvalidArgument, "the script's \"requests\" are not of the form that a descriptor has")
	}
	listed := []abi.Capability{}
	for _, request := range []struct {
		made bool
		of   []abi.Capability
	}{
		{len(requests.HTTP) > 0, []abi.Capability{abi.CapHTTP}},
		{requests.KV, []abi.Capability{abi.CapKVGet, abi.CapKVSet, abi.CapKVDelete, abi.CapKVList}},
		{len(requests.Generate) > 0, []abi.Capability{abi.CapGenerate}},
		{len(requests.Actions) > 0, []abi.Capability{abi.CapRun}},
		{requests.Clock, []abi.Capability{abi.CapNow}},
	} {
		if request.made {
			listed = append(listed, request.of...)
		}
	}
	slices.SortFunc(listed, func(a, b abi.Capability) int { return strings.Compare(string(a), string(b)) })
	a.Linkage.Capabilities = listed
	return nil
}

// DescribeScript is [Describe] for a script, with its Language: it runs the script's top level and asks it for its
// descriptor, in a sandbox of its own with nothing granted. engine is that of [Config].JavaScript. It fails as
// [Host.Load] does, but for what a policy does not grant.
func DescribeScript(ctx context.Context, up Upload, engine []byte, compiler []string) (a *Analysis, err error) {
	m, err := newScriptEngine(engine).module()
	if err != nil {
		return nil, err
	}
	text := newScriptText(&up, func(context.Context) ([]byte, error) { return up.Wasm, nil }, m, compiler)
	if a, err = text.analyze(ctx, &up, abi.ParseDescriptor); err != nil {
		return nil, err
	}
	src := sandbox.Source{Limits: sandboxLimits(policy.Defaults())}
	text.on(&src)
	err = a.ask(ctx, src, compiler)
	if err == nil {
		err = a.completeScript()
	}
	return a, text.locate(err)
}
