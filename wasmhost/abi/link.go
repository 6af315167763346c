package abi

import (
	"fmt"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Import modules of the contract.
const (
	ModuleNative     = "genkit_v1"
	ModuleExtism     = "extism:host/env"
	ModuleExtismUser = "extism:host/user"
	ModuleWASI       = "wasi_snapshot_preview1"
)

// ExtismPrefix stands before a capability's name in the Extism convention.
const ExtismPrefix = "genkit_"

// Capability is something that a host does for a guest, one import each.
type Capability string

// The capabilities of genkit/1.
const (
	CapHTTP      Capability = "http"
	CapKVGet     Capability = "kv_get"
	CapKVSet     Capability = "kv_set"
	CapKVDelete  Capability = "kv_delete"
	CapKVList    Capability = "kv_list"
	CapGenerate  Capability = "generate"
	CapRun       Capability = "run"
	CapNext      Capability = "next"
	CapEmit      Capability = "emit"
	CapInterrupt Capability = "interrupt"
	CapContext   Capability = "context"
	CapResumed   Capability = "resumed"
	CapNow       Capability = "now"
)

// Capabilities lists every capability of the contract.
func Capabilities() []Capability {
	return []Capability{
		CapHTTP, CapKVGet, CapKVSet, CapKVDelete, CapKVList, CapGenerate, CapRun, CapNext,
		CapEmit, CapInterrupt, CapContext, CapResumed, CapNow,
	}
}

// Convention is how a module and the host pass bytes.
type Convention string

// The conventions.
const (
	Native Convention = "genkit_v1"
	Extism Convention = "extism"
)

// Import is one imported function; its signature is written "(i32,i32)->(i32)".
type Import struct {
	Module, Name, Signature string
}

// Linkage is the result of reading a module's imports.
type Linkage struct {
	Convention   Convention
	Capabilities []Capability // sorted, without repetition
	UsesWASI     bool
}

const (
	sigCapability       = "(i32,i32)->(i32)"
	sigExtismCapability = "(i64)->(i64)"
)

// nativeImports gives the functions of genkit_v1 besides the capabilities.
var nativeImports = map[string]string{
	"input_len": "()->(i32)",
	"input":     "(i32)->()",
	"output":    "(i32,i32)->()",
	"error":     "(i32,i32)->()",
	"log":       "(i32,i32,i32)->()",
	"reply":     "(i32)->()",
}

// extismImports gives the functions of extism:host/env that this host has.
var extismImports = map[string]string{
	"alloc":          "(i64)->(i64)",
	"free":           "(i64)->()",
	"length":         "(i64)->(i64)",
	"length_unsafe":  "(i64)->(i64)",
	"load_u8":        "(i64)->(i32)",
	"load_u64":       "(i64)->(i64)",
	"store_u8":       "(i64,i32)->()",
	"store_u64":      "(i64,i64)->()",
	"input_length":   "()->(i64)",
	"input_offset":   "()->(i64)",
	"input_load_u8":  "(i64)->(i32)",
	"input_load_u64": "(i64)->(i64)",
	"output_set":     "(i64,i64)->()",
	"output_length":  "()->(i64)",
	"output_offset":  "()->(i64)",
	"error_set":      "(i64)->()",
	"error_get":      "()->(i64)",
	"memory_bytes":   "()->(i64)",
	"config_get":     "(i64)->(i64)",
	"var_get":        "(i64)->(i64)",
	"var_set":        "(i64,i64)->()",
	"get_log_level":  "()->(i32)",
	"log_trace":      "(i64)->()",
	"log_debug":      "(i64)->()",
	"log_info":       "(i64)->()",
	"log_warn":       "(i64)->()",
	"log_error":      "(i64)->()",
}

// extismHTTP are Extism's own HTTP functions: the capability http under other
// names.
var extismHTTP = map[string]string{
	"http_request":     "(i64,i64)->(i64)",
	"http_status_code": "()->(i32)",
	"http_headers":     "()->(i64)",
}

// Link checks every import against the contract and returns what they say. It
// fails with INVALID_ARGUMENT and names each import that no host could provide.
func Link(imports []Import) (*Linkage, error) {
	l := &Linkage{}
	var problems []string
	native, extism := false, false
	for _, i := range imports {
		var problem string
		switch i.Module {
		case ModuleWASI:
			l.UsesWASI = true // names and types are checked when the module is linked
		case ModuleNative:
			native = true
			problem = l.native(i)
		case ModuleExtism:
			extism = true
			problem = l.extism(i)
		case ModuleExtismUser:
			extism = true
			problem = l.extismUser(i)
		default:
			problem = unknownImport(i)
		}
		if problem != "" {
			problems = append(problems, problem)
		}
	}
	if len(problems) > 0 {
		const most = 10
		if more := len(problems) - most; more > 0 {
			problems = append(problems[:most], fmt.Sprintf("and %d more", more))
		}
		return nil, status.Publicf(status.InvalidArgument, "imports that no host provides: %s; a module may import only %s, %s, %s and %s",
			strings.Join(problems, "; "), ModuleNative, ModuleExtism, ModuleExtismUser, ModuleWASI)
	}
	if native && extism {
		return nil, status.Publicf(status.InvalidArgument, "the module imports from both %q and %q; a module speaks one calling convention", ModuleNative, ModuleExtism)
	}
	l.Convention = Native
	if extism {
		l.Convention = Extism
	}
	slices.Sort(l.Capabilities)
	l.Capabilities = slices.Compact(l.Capabilities)
	return l, nil
}

func unknownImport(i Import) string {
	hint := ""
	switch {
	case i.Module == "env" && i.Name == "abort":
		hint = " (AssemblyScript: build with --use abort=… naming a function of your own)"
	case i.Module == "wasi_unstable":
		hint = " (build for WASI preview 1)"
	case strings.HasPrefix(i.Module, "wasi:"):
		hint = " (WASI preview 2: build for wasm32-wasip1)"
	}
	return fmt.Sprintf("%q.%q%s", Line(i.Module, 80), Line(i.Name, 80), hint)
}

func (l *Linkage) native(i Import) string {
	want, known := nativeImports[i.Name]
	if !known && slices.Contains(Capabilities(), Capability(i.Name)) {
		want, known = sigCapability, true
		l.Capabilities = append(l.Capabilities, Capability(i.Name))
	}
	return mismatch(i, want, known)
}

func (l *Linkage) extism(i Import) string {
	if want, ok := extismHTTP[i.Name]; ok {
		l.Capabilities = append(l.Capabilities, CapHTTP)
		return mismatch(i, want, true)
	}
	want, known := extismImports[i.Name]
	return mismatch(i, want, known)
}

func (l *Linkage) extismUser(i Import) string {
	name, ok := strings.CutPrefix(i.Name, ExtismPrefix)
	known := ok && slices.Contains(Capabilities(), Capability(name))
	if known {
		l.Capabilities = append(l.Capabilities, Capability(name))
	}
	return mismatch(i, sigExtismCapability, known)
}

func mismatch(i Import, want string, known bool) string {
	if !known {
		return unknownImport(i)
	}
	if i.Signature != want {
		return fmt.Sprintf("%q.%q has the type %s, want %s", i.Module, i.Name, i.Signature, want)
	}
	return ""
}
