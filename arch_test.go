// Package repo_test checks the rules of this repository that no compiler knows:
// which room may import which, who owns which third-party module, that every
// package says what it is for, and that nothing committed names a machine's paths.
package repo_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
)

const root = "github.com/genkit-wasm/genkit-wasm"

// room is a package or, with a trailing slash, a folder of packages.
type room struct {
	name    string
	imports []string // rooms of this repository; a trailing slash takes in the folder
	why     string
}

// leaves are the engine's packages that wasmhost and builtin may build upon.
var leaves = []string{
	"engine/status", "engine/content", "engine/schema", "engine/telemetry", "engine/action", "engine/registry",
	"engine/model", "engine/tool", "engine/embed", "engine/middleware", "engine/format",
}

// rooms is the house: every package has one row, the longest name that fits counts.
var rooms = []room{
	{"engine/status", nil, "the bottom: everything may report an error"},
	{"engine/internal/rawjson", nil, "JSON objects that survive a round trip"},
	{"engine/content", []string{"engine/internal/rawjson"}, "wire vocabulary, no behaviour"},
	{"engine/schema", []string{"engine/status"}, "the one owner of JSON Schema"},
	{"engine/telemetry", []string{"engine/status"}, "the one owner of OpenTelemetry"},
	{"engine/telemetry/telemetrytest", nil, "collects spans for tests"},
	{"engine/action", []string{"engine/status", "engine/schema", "engine/telemetry", "engine/internal/rawjson"}, "the one registrable unit"},
	{"engine/registry", []string{"engine/status", "engine/action"}, "resolution"},
	{"engine/model", []string{"engine/status", "engine/content", "engine/schema", "engine/telemetry", "engine/action", "engine/internal/rawjson"}, "a noun"},
	{"engine/tool", []string{"engine/status", "engine/content", "engine/schema", "engine/telemetry", "engine/action", "engine/model", "engine/internal/rawjson"}, "a noun; notes on its span what it was resumed with"},
	{"engine/embed", []string{"engine/status", "engine/content", "engine/schema", "engine/action", "engine/internal/rawjson"}, "a noun"},
	{"engine/resource", []string{"engine/status", "engine/content", "engine/action", "engine/internal/rawjson"}, "a noun; owns the matching of URI templates"},
	{"engine/middleware", []string{"engine/status", "engine/content", "engine/schema", "engine/action", "engine/registry", "engine/model", "engine/tool", "engine/format", "engine/internal/rawjson"}, "hooks around the loop, and what a model's capabilities switch on"},
	{"engine/format", []string{"engine/status", "engine/content", "engine/schema", "engine/registry", "engine/model", "engine/internal/rawjson"}, "output formats"},
	{"engine/generate", append(slices.Clone(leaves), "engine/resource", "engine/internal/rawjson"), "the loop"},
	{"engine/flow", []string{"engine/status", "engine/action", "engine/registry", "engine/telemetry", "engine/schema", "engine/internal/rawjson"}, "flows and steps"},
	{"engine/enginetest", nil, "kits for tests; never imported by code that ships"},
	{"engine", append(slices.Clone(leaves), "engine/resource", "engine/generate", "engine/flow", "engine/internal/rawjson"), "the façade: no logic"},

	{"wasmhost/abi", []string{"engine/status", "engine/schema"}, "the contract's Go form; runs nothing"},
	{"wasmhost/inspect", nil, "parses foreign bytes: no dependency that could surprise"},
	{"wasmhost/inspect/wasmtest", nil, "assembles modules for tests"},
	{"wasmhost/meter", []string{"wasmhost/inspect"}, "rewrites what inspect has parsed"},
	{"wasmhost/policy", []string{"engine/status", "engine/schema", "wasmhost/abi"}, "grants and limits"},
	{"wasmhost/sandbox", []string{"engine/status", "engine/schema", "wasmhost/abi", "wasmhost/inspect", "wasmhost/meter"}, "the only room that runs guests"},
	{"wasmhost/module", []string{"engine/status", "wasmhost/abi"}, "keeps uploads"},
	{"wasmhost/module/moduletest", []string{"engine/status", "wasmhost/module"}, "the stores' kit"},
	{"wasmhost/server", append(slices.Clone(leaves), "wasmhost", "wasmhost/abi", "wasmhost/module", "wasmhost/policy"), "HTTP; needs no more of the engine than a registry"},
	{"wasmhost/hosttest", append(slices.Clone(leaves), "wasmhost", "wasmhost/policy", "wasmhost/inspect/wasmtest"), "the kits for modules and for hosts"},
	{"wasmhost", append(slices.Clone(leaves), "wasmhost/abi", "wasmhost/inspect", "wasmhost/module", "wasmhost/policy", "wasmhost/sandbox"), "adapters from actions to guests"},

	{"builtin/model/", append(slices.Clone(leaves), "engine/internal/rawjson"), "first-party models use the engine's leaves, never the façade"},
	{"builtin/middleware/", leaves, "first-party middleware uses the engine's leaves, never the façade"},
	{"builtin", append(slices.Clone(leaves), "builtin/"), "the list that the binary links"},
	{"cmd/genkit-wasm", []string{"engine/", "wasmhost/", "builtin/"}, "the only place where engine, wasmhost and builtin meet"},
	{"examples/", []string{"engine/", "wasmhost/", "builtin/"}, "users of everything public"},
	{"bench", []string{"engine/", "wasmhost/", "builtin/"}, "measures everything"},
}

// owners are the rooms that may import a third-party module in code that ships.
var owners = []struct {
	module string
	rooms  []string
	why    string
}{
	{"github.com/tetratelabs/wazero", []string{"wasmhost/sandbox"}, "one place decides how guests run"},
	{"github.com/extism/go-sdk", nil, "an oracle and a benchmark's peer; tests only"},
	{"github.com/santhosh-tekuri/jsonschema", []string{"engine/schema"}, "schemas compile once, in one place"},
	{"github.com/invopop/jsonschema", []string{"engine/schema"}, "inference, in one place"},
	{"golang.org/x/text", []string{"engine/schema"}, "the words of schema errors"},
	{"go.opentelemetry.io/otel", []string{"engine/telemetry", "engine/telemetry/telemetrytest", "engine"}, "spans are opened in one place; the façade takes a provider"},
	{"github.com/labstack/echo", []string{"wasmhost/server"}, "HTTP stays at the edge"},
	{"github.com/spf13/", []string{"cmd/genkit-wasm"}, "the command line"},
	{"golang.org/x/time", []string{"wasmhost"}, "calls per minute"},
	{"golang.org/x/sys", []string{"wasmhost/module", "wasmhost/sandbox"}, "file locks, memory maps"},
	{"github.com/mattn/go-isatty", []string{"cmd/genkit-wasm"}, "terminals"},
	{"github.com/stretchr/testify", []string{"wasmhost/module/moduletest", "wasmhost/hosttest"}, "tests and kits"},
	{"go.uber.org/goleak", []string{"wasmhost/hosttest"}, "tests and kits"},
	{"go.yaml.in/yaml", nil, "spec files, in tests"},
}

type pkg struct {
	ImportPath string
	Dir        string
	Imports    []string
	GoFiles    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports,GoFiles", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func within(name, rule string) bool {
	return name == rule || (strings.HasSuffix(rule, "/") && (strings.HasPrefix(name, rule) || name == strings.TrimSuffix(rule, "/")))
}

func rowOf(name string) (room, bool) {
	best, found := room{}, false
	for _, r := range rooms {
		if within(name, r.name) && len(r.name) >= len(best.name) {
			best, found = r, true
		}
	}
	return best, found
}

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	used := map[string]bool{}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, root), "/")
		if name == "" {
			continue
		}
		row, ok := rowOf(name)
		if !ok {
			t.Errorf("package %s has no row in the table of rooms", name)
			continue
		}
		used[row.name] = true
		for _, imp := range p.Imports {
			if rest, own := strings.CutPrefix(imp, root+"/"); own {
				if !slices.ContainsFunc(row.imports, func(rule string) bool { return within(rest, rule) }) {
					t.Errorf("%s imports %s, which its row does not allow (%s)", name, rest, row.why)
				}
				continue
			}
			checkOwner(t, name, imp)
		}
	}
	for _, r := range rooms {
		if !used[r.name] {
			t.Errorf("the row %q has no package", r.name)
		}
	}
}

func checkOwner(t *testing.T, name, imp string) {
	t.Helper()
	first, _, _ := strings.Cut(imp, "/")
	if !strings.Contains(first, ".") {
		return // the standard library
	}
	for _, o := range owners {
		if strings.HasPrefix(imp, o.module) {
			if !slices.Contains(o.rooms, name) && name != "bench" {
				t.Errorf("%s imports %s, which belongs to %v (%s)", name, imp, o.rooms, o.why)
			}
			return
		}
	}
	t.Errorf("%s imports %s, a module without an owner", name, imp)
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		docs := 0
		for _, f := range p.GoFiles {
			ast, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if ast.Doc != nil {
				docs++
			}
		}
		if len(p.GoFiles) > 0 && docs != 1 {
			t.Errorf("%s has %d package comments, want 1", p.ImportPath, docs)
		}
	}
}

// kits are packages for tests; code that ships never imports them.
var kits = []string{"engine/enginetest", "engine/telemetry/telemetrytest", "wasmhost/hosttest", "wasmhost/module/moduletest", "wasmhost/inspect/wasmtest"}

func TestKitsAreImportedByTestsAlone(t *testing.T) {
	for _, p := range packages(t) {
		if slices.Contains(kits, strings.TrimPrefix(p.ImportPath, root+"/")) {
			continue // a kit may build on another
		}
		for _, imp := range p.Imports {
			if slices.Contains(kits, strings.TrimPrefix(imp, root+"/")) {
				t.Errorf("%s imports the test kit %s", p.ImportPath, imp)
			}
		}
	}
}

var (
	banned    = regexp.MustCompile(`(?:^|[^A-Za-z0-9_./-])/(?:work|root|home|farm)/`)
	registrar = regexp.MustCompile(`proxy\.golang\.org|registry\.npmjs|static\.crates\.io|files\.pythonhosted`)
)

func TestNothingNamesAMachineOrARegistry(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "ls-files").Output()
	if err != nil {
		t.Skipf("not a git checkout: %v", err)
	}
	files := strings.Fields(string(out))
	sort.Strings(files)
	for _, f := range files {
		if f == "arch_test.go" {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			continue // removed, not yet committed
		}
		if loc := banned.Find(b); loc != nil {
			t.Errorf("%s names a path of a machine: %q", f, loc)
		}
		if loc := registrar.Find(b); loc != nil {
			t.Errorf("%s names a package registry's host: %q", f, loc)
		}
	}
}
