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
	"engine/retrieve",
}

// rooms is the house: every package has one row, the longest name that fits counts.
var rooms = []room{
	{"engine/status", nil, "the bottom: everything may report an error"},
	{"engine/internal/rawjson", nil, "JSON objects that survive a round trip"},
	{"engine/content", []string{"engine/internal/rawjson"}, "wire vocabulary, no behaviour"},
	{"engine/schema", []string{"engine/status"}, "the one owner of JSON Schema"},
	{"engine/telemetry", []string{"engine/status", "engine/internal/rawjson"}, "the one owner of OpenTelemetry"},
	{"engine/telemetry/telemetrytest", nil, "collects spans for tests"},
	{"engine/telemetry/devexport", []string{"engine/status", "engine/telemetry"}, "sends spans and logs to Genkit's telemetry server"},
	{"engine/telemetry/otlp", []string{"engine/status", "engine/telemetry"}, "OTLP exporters; nothing of the engine links them"},
	{"engine/action", []string{"engine/status", "engine/schema", "engine/telemetry", "engine/internal/rawjson"}, "the one registrable unit"},
	{"engine/registry", []string{"engine/status", "engine/action"}, "resolution"},
	{"engine/model", []string{"engine/status", "engine/content", "engine/schema", "engine/telemetry", "engine/action", "engine/internal/rawjson"}, "a noun"},
	{"engine/tool", []string{"engine/status", "engine/content", "engine/schema", "engine/telemetry", "engine/action", "engine/model", "engine/internal/rawjson"}, "a noun; notes on its span what it was resumed with"},
	{"engine/embed", []string{"engine/status", "engine/content", "engine/schema", "engine/action", "engine/internal/rawjson"}, "a noun"},
	{"engine/retrieve", []string{"engine/status", "engine/content", "engine/schema", "engine/action", "engine/embed", "engine/internal/rawjson"}, "three nouns; an indexer may say what it embeds with"},
	{"engine/resource", []string{"engine/status", "engine/content", "engine/action", "engine/internal/rawjson"}, "a noun; owns the matching of URI templates"},
	{"engine/evaluate", []string{"engine/status", "engine/schema", "engine/telemetry", "engine/action", "engine/internal/rawjson"}, "a noun; goes through datasets, with a span for each case"},
	{"engine/middleware", []string{"engine/status", "engine/content", "engine/schema", "engine/action", "engine/registry", "engine/model", "engine/tool", "engine/format", "engine/internal/rawjson"}, "hooks around the loop, and what a model's capabilities switch on"},
	{"engine/format", []string{"engine/status", "engine/content", "engine/schema", "engine/registry", "engine/model", "engine/internal/rawjson"}, "output formats"},
	{"engine/generate", append(slices.Clone(leaves), "engine/resource", "engine/internal/rawjson"), "the loop"},
	{"engine/prompt/internal/", []string{"engine/prompt/internal/"}, "the template language, front matter, picoschema: text in, values out"},
	{"engine/prompt", []string{"engine/status", "engine/content", "engine/schema", "engine/telemetry", "engine/action", "engine/registry", "engine/model", "engine/generate", "engine/internal/rawjson", "engine/prompt/internal/"}, "prompt files and templates into generate calls"},
	{"engine/flow", []string{"engine/status", "engine/action", "engine/registry", "engine/telemetry", "engine/schema", "engine/internal/rawjson"}, "flows and steps"},
	{"engine/enginetest", append(slices.Clone(leaves), "engine/session", "engine/resource"), "kits for tests; never imported by code that ships"},
	{"engine", append(slices.Clone(leaves), "engine/resource", "engine/generate", "engine/flow", "engine/internal/rawjson", "engine/evaluate", "engine/session", "engine/prompt", "engine/reflection"), "the façade: no logic"},
	{"engine/session", append(slices.Clone(leaves), "internal/storedir", "engine/generate", "engine/internal/rawjson"), "state, threads, stores, and chats over the loop"},
	{"engine/reflection", []string{"engine/status", "engine/telemetry", "engine/telemetry/devexport", "engine/action", "engine/registry", "engine/middleware", "engine/generate", "engine/internal/rawjson"}, "the Dev UI's API; sees an app through its registry"},
	{"engine/flowserver", append(slices.Clone(leaves), "engine/flow", "engine/internal/rawjson", "engine/flowserver/"), "production HTTP for flows; runs what a registry holds"},
	{"engine/flowserver/durable", []string{"engine/status"}, "streams that are kept; knows no HTTP"},
	{"engine/flowserver/durable/durabletest", []string{"engine/status", "engine/flowserver/durable"}, "the stream managers' kit"},
	{"engine/flowserver/echoflow", []string{"engine/status", "engine/flowserver"}, "flows on Echo; thin"},
	{"engine/flowserver/contextprovider", []string{"engine/status", "engine/schema"}, "who calls; knows no HTTP server"},
	{"engine/client", []string{"engine/status", "engine/action", "engine/internal/rawjson"}, "the flow protocol's other end"},

	{"internal/storedir", []string{"engine/status"}, "what stores in directories need of the system"},

	{"wasmhost/abi", []string{"engine/status", "engine/schema"}, "the contract's Go form; runs nothing"},
	{"wasmhost/inspect", nil, "parses foreign bytes: no dependency that could surprise"},
	{"wasmhost/inspect/wasmtest", nil, "assembles modules for tests"},
	{"wasmhost/meter", []string{"wasmhost/inspect"}, "rewrites what inspect has parsed"},
	{"wasmhost/policy", []string{"engine/status", "engine/schema", "wasmhost/abi"}, "grants and limits"},
	{"wasmhost/capability/secret", []string{"engine/status", "wasmhost/policy"}, "what guests use and never see"},
	{"wasmhost/capability/egress", []string{"engine/status", "wasmhost/abi", "wasmhost/policy", "wasmhost/capability/secret"}, "the only way of guests to the network"},
	{"wasmhost/capability/kv", []string{"engine/status", "engine/schema"}, "what guests keep"},
	{"wasmhost/capability/kv/kvtest", []string{"engine/status", "wasmhost/capability/kv"}, "the key-value stores' kit"},
	{"wasmhost/capability/vfs", []string{"engine/status"}, "directories that guests see"},
	{"wasmhost/sandbox", []string{"engine/status", "engine/schema", "wasmhost/abi", "wasmhost/inspect", "wasmhost/meter"}, "the only room that runs guests"},
	{"wasmhost/tenant", []string{"engine/status"}, "shares a host among tenants; runs nothing"},
	{"wasmhost/module", []string{"engine/status", "internal/storedir", "wasmhost/abi"}, "keeps uploads"},
	{"wasmhost/module/moduletest", []string{"engine/status", "wasmhost/module"}, "the stores' kit"},
	{"wasmhost/server", append(slices.Clone(leaves), "wasmhost", "wasmhost/abi", "wasmhost/module", "wasmhost/policy", "engine/flowserver", "engine/flowserver/contextprovider", "engine/flowserver/durable"), "HTTP; needs no more of the engine than a registry"},
	{"wasmhost/hosttest", append(slices.Clone(leaves), "wasmhost", "wasmhost/capability/egress", "wasmhost/capability/secret", "wasmhost/policy", "wasmhost/inspect/wasmtest"), "the kits for modules and for hosts"},
	{"wasmhost", append(slices.Clone(leaves), "wasmhost/abi", "wasmhost/inspect", "wasmhost/capability/", "wasmhost/module", "wasmhost/policy", "wasmhost/sandbox", "wasmhost/tenant"), "adapters from actions to guests"},

	{"builtin/model/", append(slices.Clone(leaves), "engine/internal/rawjson"), "first-party models use the engine's leaves, never the façade"},
	{"builtin/evaluator/", append(slices.Clone(leaves), "engine/evaluate"), "first-party evaluators ask their judges through the registry, never the façade"},
	{"builtin/middleware/", leaves, "first-party middleware uses the engine's leaves, never the façade"},
	{"builtin/vectorstore/", append(slices.Clone(leaves), "internal/storedir", "builtin/vectorstore/"), "first-party stores use the engine's leaves, never the façade"},
	{"builtin", append(slices.Clone(leaves), "builtin/"), "the list that the binary links"},
	{"cmd/genkit-wasm", []string{"engine/", "wasmhost/", "builtin/"}, "the only place where engine, wasmhost and builtin meet"},
	{"examples/", []string{"engine/", "wasmhost/", "builtin/"}, "users of everything public"},
	{"test/faces", nil, "drives the binary and an example by Genkit's own tools"},
	{"bench", []string{"engine/", "wasmhost/", "builtin/"}, "measures everything"},
	{"test/faces/client", []string{"engine/", "wasmhost/"}, "Genkit's JS client against the flow server"},
}

// owners are the rooms that may import a third-party module in code that ships.
var owners = []struct {
	module string
	rooms  []string
	why    string
}{
	{"github.com/tetratelabs/wazero", []string{"wasmhost/sandbox", "wasmhost/capability/vfs"}, "one place decides how guests run; vfs implements its file system"},
	{"github.com/extism/go-sdk", nil, "an oracle and a benchmark's peer; tests only"},
	{"github.com/santhosh-tekuri/jsonschema", []string{"engine/schema"}, "schemas compile once, in one place"},
	{"github.com/invopop/jsonschema", []string{"engine/schema"}, "inference, in one place"},
	{"golang.org/x/text", []string{"engine/schema"}, "the words of schema errors"},
	{"go.opentelemetry.io/otel", []string{"engine/telemetry", "engine/telemetry/telemetrytest", "engine", "engine/telemetry/devexport", "engine/telemetry/otlp"}, "spans are opened in one place; the façade takes a provider"},
	{"github.com/blues/jsonata-go", []string{"builtin/evaluator/genkiteval"}, "one evaluator's expressions"},
	{"github.com/coder/websocket", []string{"engine/reflection"}, "version 2 of the Dev UI's API"},
	{"go.opentelemetry.io/contrib/bridges/otelslog", []string{"engine/telemetry/otlp"}, "log lines by OTLP"},
	{"github.com/labstack/echo", []string{"wasmhost/server", "engine/flowserver/echoflow"}, "HTTP stays at the edge"},
	{"github.com/golang-jwt/jwt", []string{"engine/flowserver/contextprovider"}, "who calls is decided in one place"},
	{"github.com/spf13/", []string{"cmd/genkit-wasm"}, "the command line"},
	{"golang.org/x/net", []string{"wasmhost/capability/egress"}, "what may stand in a header"},
	{"go.etcd.io/bbolt", []string{"wasmhost/capability/kv"}, "a file of keys and values"},
	{"golang.org/x/time", []string{"wasmhost", "wasmhost/tenant"}, "calls per minute"},
	{"golang.org/x/sys", []string{"wasmhost/sandbox"}, "memory maps"},
	{"github.com/mattn/go-isatty", []string{"cmd/genkit-wasm"}, "terminals"},
	{"github.com/stretchr/testify", []string{"wasmhost/module/moduletest", "wasmhost/hosttest", "wasmhost/capability/kv/kvtest", "engine/flowserver/durable/durabletest"}, "tests and kits"},
	{"go.uber.org/goleak", []string{"wasmhost/hosttest"}, "tests and kits"},
	{"go.yaml.in/yaml", []string{"engine/prompt/internal/frontmatter"}, "front matter; spec files, in tests"},
	{"github.com/rogpeppe/go-internal", nil, "txtar files, in tests"},
	{"code.dny.dev/ssrf", nil, "an oracle of addresses; tests only"},
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
var kits = []string{"engine/enginetest", "engine/telemetry/telemetrytest", "wasmhost/hosttest", "wasmhost/module/moduletest", "wasmhost/inspect/wasmtest", "wasmhost/capability/kv/kvtest", "engine/flowserver/durable/durabletest"}

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

// A binary that is built at the root is soon added to a commit.
func TestNothingBigIsCommitted(t *testing.T) {
	const most = 1 << 20
	out, err := exec.CommandContext(t.Context(), "git", "ls-files", "-z").Output()
	if err != nil {
		t.Skipf("not a git checkout: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if info, err := os.Stat(name); err == nil && info.Size() > most {
			t.Errorf("%s has %d bytes, more than %d", name, info.Size(), most)
		}
	}
}

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
