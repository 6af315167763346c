// Package repo_test checks the rules of this repository that no compiler knows:
// which package may import which, who owns which third-party module, that every
// package says what it is for, and that nothing committed names a machine's paths.
package repo_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
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

	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

const root = "github.com/genkit-wasm/genkit-wasm"

// rule is the row of a package or, with a trailing slash, a folder of packages.
type rule struct {
	name    string
	imports []string // packages of this repository; a trailing slash takes in the folder
	why     string
}

// leaves are the engine's packages that wasmhost and builtin may build upon.
var leaves = []string{
	"engine/status", "engine/content", "engine/schema", "engine/telemetry", "engine/action", "engine/registry",
	"engine/model", "engine/tool", "engine/embed", "engine/middleware", "engine/format",
	"engine/retrieve", "engine/allowance",
}

// rules is the table of imports: every package has one row, the longest name that fits counts.
var rules = []rule{
	{"engine/status", nil, "the bottom: everything may report an error"},
	{"engine/internal/secretjson", []string{"internal/rawjson"}, "takes credentials out of configs, in one place for all that records or returns them"},
	{"engine/internal/uuid", nil, "random ids"},
	{"engine/content", []string{"internal/rawjson"}, "wire vocabulary, no behaviour"},
	{"engine/schema", []string{"engine/status"}, "the one owner of JSON Schema"},
	{"engine/schema/internal/", nil, "Go types of equal names for the tests of inference"},
	{"engine/telemetry", []string{"engine/status", "internal/rawjson", "engine/internal/secretjson"}, "the one owner of OpenTelemetry"},
	{"engine/telemetry/telemetrytest", nil, "collects spans for tests"},
	{"engine/telemetry/devexport", []string{"engine/status", "engine/telemetry", "internal/rawjson"}, "sends spans and logs to Genkit's telemetry server"},
	{"engine/telemetry/otlp", []string{"engine/status", "engine/telemetry"}, "OTLP exporters; nothing of the engine links them"},
	{"engine/internal/handed", nil, "a value for one run of an action; knows no action"},
	{"engine/action", []string{"engine/status", "engine/schema", "engine/telemetry", "internal/rawjson", "engine/internal/handed"}, "the one registrable unit"},
	{"engine/registry", []string{"engine/status", "engine/action"}, "resolution"},
	{"engine/allowance", []string{"engine/status", "engine/schema"}, "what one request may cause; found through the context"},
	{"engine/model", []string{"engine/status", "engine/content", "engine/schema", "engine/telemetry", "engine/action", "internal/rawjson", "engine/internal/secretjson"}, "a noun"},
	{"engine/tool", []string{"engine/status", "engine/content", "engine/schema", "engine/telemetry", "engine/action", "engine/model", "internal/rawjson", "engine/internal/handed"}, "a noun; notes on its span what it was resumed with"},
	{"engine/embed", []string{"engine/status", "engine/content", "engine/schema", "engine/action", "internal/rawjson"}, "a noun"},
	{"engine/retrieve", []string{"engine/status", "engine/content", "engine/schema", "engine/action", "engine/embed", "internal/rawjson"}, "three nouns; an indexer may say what it embeds with"},
	{"engine/resource", []string{"engine/status", "engine/content", "engine/action", "internal/rawjson"}, "a noun; owns the matching of URI templates"},
	{"engine/evaluate", []string{"engine/status", "engine/schema", "engine/telemetry", "engine/action", "engine/internal/uuid", "internal/rawjson"}, "a noun; goes through datasets, with a span for each case"},
	{"engine/middleware", []string{"engine/allowance", "engine/status", "engine/content", "engine/schema", "engine/action", "engine/registry", "engine/model", "engine/tool", "engine/format", "internal/rawjson"}, "hooks around the loop, and what a model's capabilities switch on"},
	{"engine/format", []string{"engine/status", "engine/content", "engine/schema", "engine/registry", "engine/model", "internal/rawjson"}, "output formats"},
	{"engine/generate", append(slices.Clone(leaves), "engine/resource", "internal/rawjson"), "the loop"},
	{"engine/prompt/internal/", []string{"engine/prompt/internal/"}, "the template language, front matter, picoschema: text in, values out"},
	{"engine/prompt", []string{"engine/status", "engine/content", "engine/schema", "engine/telemetry", "engine/action", "engine/registry", "engine/model", "engine/generate", "internal/rawjson", "engine/prompt/internal/"}, "prompt files and templates into generate calls"},
	{"engine/flow", []string{"engine/status", "engine/action", "engine/registry", "engine/telemetry", "engine/schema", "internal/rawjson"}, "flows and steps"},
	{"engine/enginetest", append(slices.Clone(leaves), "engine/agent", "engine/session", "engine/resource", "internal/peer", "internal/rawjson"), "kits for tests; never imported by code that ships"},
	{"engine", append(slices.Clone(leaves), "engine/resource", "engine/generate", "engine/flow", "internal/rawjson", "engine/agent", "engine/evaluate", "engine/session", "engine/prompt", "engine/reflection"), "the façade: no logic"},
	{"engine/agent", append(slices.Clone(leaves), "engine/generate", "engine/prompt", "engine/internal/uuid", "internal/storedir", "internal/rawjson"), "conversations turn by turn, their stores, and work in the background"},
	{"engine/session", append(slices.Clone(leaves), "internal/storedir", "engine/generate", "engine/internal/uuid", "internal/rawjson"), "state, threads, stores, and chats over the loop"},
	{"engine/reflection", []string{"internal/closing", "engine/status", "engine/telemetry", "engine/telemetry/devexport", "engine/action", "engine/registry", "engine/middleware", "engine/generate", "internal/rawjson"}, "the Dev UI's API; sees an app through its registry"},
	{"engine/flowserver", append(slices.Clone(leaves), "engine/flow", "engine/internal/uuid", "internal/rawjson", "internal/negotiation", "internal/closing", "engine/flowserver/"), "production HTTP for flows; runs what a registry holds"},
	{"engine/flowserver/durable", []string{"engine/status"}, "streams that are kept; knows no HTTP"},
	{"engine/flowserver/durable/durabletest", []string{"engine/status", "engine/flowserver/durable"}, "the stream managers' kit"},
	{"engine/flowserver/echoflow", []string{"engine/status", "engine/flowserver"}, "flows on Echo; thin"},
	{"engine/flowserver/contextprovider", []string{"engine/status", "engine/schema"}, "who calls; knows no HTTP server"},
	{"engine/client", []string{"engine/status", "engine/action", "internal/rawjson"}, "the flow protocol's other end"},

	{"internal/rawjson", nil, "JSON objects that survive a round trip"},
	{"internal/ballast", nil, "spaces collections; knows nothing of the program"},
	{"internal/caller", []string{"engine/status", "wasmhost/server/access"}, "who sends a request, for all handlers that ask"},
	{"internal/closing", []string{"engine/status"}, "answers requests whose bodies are still arriving when their server closes, for all faces"},
	{"internal/datadir", []string{"engine/status", "internal/storedir", "wasmhost/capability/kv", "wasmhost/module", "wasmhost/server/access", "wasmhost/server/admin", "wasmhost/server/audit", "wasmhost/server/secrets", "wasmhost/server/usage"}, "the parts of a data directory; opens every store, of a server that is stopped"},
	{"internal/hostile", nil, "inputs that tools have to survive; runs nothing"},
	{"internal/listening", nil, "connections and certificates; knows nothing of what is served"},
	{"internal/logins", nil, "the file of a user's profiles; sends nothing"},
	{"internal/packdir", []string{"engine/status", "wasmhost/abi", "wasmhost/script"}, "makes a package of a directory; reads files and nothing else"},
	{"internal/prettylog", nil, "log lines for people"},
	{"internal/negotiation", []string{"engine/status"}, "what a request says of its body and of the answer, for all faces that stream"},
	{"internal/profiling", []string{"engine/status", "internal/caller", "internal/listening", "wasmhost/abi", "wasmhost/server", "wasmhost/server/access"}, "Go's profiles over HTTP, beside the API"},
	{"internal/settings", []string{"internal/yamljson"}, "flags from the environment and a file; knows no flag by name"},
	{"internal/tooltest", []string{"engine/action", "engine/schema", "engine/status", "engine/tool", "internal/hostile", "internal/rawjson", "internal/yamljson", "wasmhost/abi", "wasmhost/intercept"}, "runs cases and hostile inputs; loads no module"},
	{"internal/recording", []string{"engine/schema", "engine/status", "internal/tooltest", "wasmhost/abi", "wasmhost/intercept"}, "keeps calls and plays them; loads no module"},
	{"internal/yamljson", nil, "YAML as JSON, in one place"},
	{"internal/storedir", []string{"engine/status"}, "what stores in directories need of the system"},
	{"internal/layers", nil, "draws the layers of files; a program for maintainers"},
	{"internal/descriptors", nil, "how many files and connections there may be"},
	{"internal/peer", nil, "what a test does without a program from outside"},
	{"internal/kittest", nil, "holds kits against implementations with a fault"},
	{"internal/wasmtest", []string{"internal/peer"}, "assembles modules for tests"},
	{"internal/jsengine", []string{"wasmhost/script"}, "downloads the JavaScript engine for the build"},
	{"internal/jsengine/get", []string{"internal/jsengine", "wasmhost/script"}, "puts it where the build embeds it"},
	{"internal/jsengine/jsenginetest", []string{"internal/jsengine", "internal/peer"}, "gives it to tests"},
	{"internal/scaffold", []string{"pdk"}, "writes the directories of new tools; runs nothing"},
	{"internal/guestbuild", nil, "runs compilers; reads nothing of what they make"},
	{"internal/release", nil, "builds archives and images; a program for maintainers"},
	{"internal/storedir/journal", []string{"engine/status"}, "a file that grows by whole commits; knows no store"},
	{"internal/storedir/faultfs", []string{"engine/status", "internal/storedir"}, "a disk in memory that fails and loses power, and the kit for stores on it"},

	{"pdk", nil, "the files of the kits, for programs that copy them"},

	{"wasmhost/abi", []string{"engine/status", "engine/schema", "internal/rawjson"}, "the contract's Go form; runs nothing"},
	{"wasmhost/intercept", []string{"wasmhost/abi"}, "who may stand between a guest and its host; knows neither"},
	{"wasmhost/internal/inspect", nil, "parses foreign bytes: no dependency that could surprise"},
	{"wasmhost/internal/meter", []string{"wasmhost/internal/inspect"}, "rewrites what inspect has parsed"},
	{"wasmhost/internal/verify", []string{"wasmhost/internal/inspect"}, "proves what meter has written, so it shares no code with meter but the parser"},
	{"wasmhost/internal/symbols", []string{"wasmhost/internal/inspect", "wasmhost/internal/meter"}, "names and lines that modules tell of themselves; nothing rests on them"},
	{"wasmhost/policy", []string{"engine/status", "engine/schema", "wasmhost/abi"}, "grants and limits"},
	{"wasmhost/capability/secret", []string{"engine/status", "wasmhost/policy"}, "what guests use and never see"},
	{"wasmhost/capability/egress", []string{"engine/status", "wasmhost/abi", "wasmhost/policy", "wasmhost/capability/secret"}, "the only way of guests to the network"},
	{"wasmhost/capability/kv", []string{"engine/status", "engine/schema", "internal/storedir", "internal/storedir/journal"}, "what guests keep"},
	{"wasmhost/capability/kv/kvtest", []string{"engine/status", "wasmhost/capability/kv"}, "the key-value stores' kit"},
	{"wasmhost/capability/vfs", []string{"engine/status"}, "directories that guests see"},
	{"wasmhost/internal/wasi", nil, "WASI for guests; depends on nothing but wazero's interfaces"},
	{"wasmhost/internal/share", []string{"engine/status"}, "who may run when, on what; runs nothing"},
	{"wasmhost/internal/memory", nil, "linear memories and their images; counts nothing"},
	{"wasmhost/internal/compile", []string{"engine/status", "internal/storedir", "wasmhost/abi", "wasmhost/internal/inspect", "wasmhost/internal/meter", "wasmhost/internal/verify", "wasmhost/internal/share", "wasmhost/internal/symbols"}, "from an upload's bytes to machine code; runs no guest"},
	{"wasmhost/internal/sandbox", []string{"engine/status", "engine/schema", "wasmhost/abi", "wasmhost/internal/inspect", "wasmhost/internal/meter", "wasmhost/internal/wasi", "wasmhost/internal/share", "wasmhost/internal/memory", "wasmhost/internal/compile", "wasmhost/internal/symbols"}, "the only room that runs guests"},
	{"wasmhost/internal/worker", []string{"engine/status", "engine/schema", "wasmhost/abi", "wasmhost/internal/sandbox", "wasmhost/internal/compile", "wasmhost/internal/share", "wasmhost/internal/memory", "internal/ballast"}, "runs sandboxes in processes of their own; decides nothing about modules"},
	{"wasmhost/script", []string{"engine/status", "wasmhost/abi", "wasmhost/internal/compile", "wasmhost/internal/inspect"}, "makes of a script what an engine evaluates; runs nothing"},
	{"wasmhost/internal/services", []string{"engine/action", "engine/middleware", "engine/model", "engine/registry", "engine/schema", "engine/status", "engine/telemetry", "engine/tool", "internal/rawjson", "wasmhost/abi", "wasmhost/capability/egress", "wasmhost/capability/kv", "wasmhost/capability/secret", "wasmhost/internal/sandbox", "wasmhost/policy", "wasmhost/tenant"}, "what a call may ask of the host; knows neither the host nor its modules"},
	{"wasmhost/internal/condition", []string{"wasmhost/module"}, "what a caller wants to find when it changes a module; from the server's requests to the host's locks"},
	{"wasmhost/internal/rules", []string{"engine/status", "engine/content", "engine/model", "internal/rawjson", "wasmhost/abi"}, "what a middleware module may not change"},
	{"wasmhost/tenant", []string{"engine/status", "engine/schema"}, "shares a host among tenants; runs nothing"},
	{"wasmhost/module", []string{"engine/status", "internal/storedir", "wasmhost/abi", "internal/rawjson"}, "keeps uploads"},
	{"wasmhost/module/moduletest", []string{"engine/status", "wasmhost/module"}, "the stores' kit"},
	{"wasmhost/server/access", []string{"engine/schema", "engine/status", "internal/storedir"}, "who calls and what they may; knows no HTTP server and no host"},
	{"wasmhost/server/access/accesstest", []string{"engine/status", "wasmhost/server/access"}, "the key stores' kit"},
	{"wasmhost/server/admin", []string{"engine/allowance", "engine/schema", "engine/status", "internal/rawjson", "internal/storedir", "wasmhost", "wasmhost/abi", "wasmhost/module", "wasmhost/policy", "wasmhost/tenant", "wasmhost/server/access", "wasmhost/server/usage"}, "tenants as resources; knows the host, and nothing of HTTP"},
	{"wasmhost/server/secrets", []string{"engine/schema", "engine/status", "internal/rawjson", "internal/storedir", "wasmhost/abi", "wasmhost/capability/secret", "wasmhost/policy"}, "what tenants keep and nobody is shown; knows no HTTP and no host"},
	{"wasmhost/server/secrets/secretstest", []string{"engine/status", "wasmhost/capability/secret", "wasmhost/server/secrets"}, "the kit of backends of secrets"},
	{"wasmhost/server/usage", []string{"engine/allowance", "engine/schema", "engine/status", "internal/rawjson", "internal/storedir", "wasmhost/abi", "wasmhost/tenant"}, "accounts of calls, and where their events go; knows no host"},
	{"wasmhost/server/audit/audittest", []string{"wasmhost/server/audit"}, "the kit of logs of changes"},
	{"wasmhost/server/usage/usagetest", []string{"engine/status", "wasmhost/server/usage", "wasmhost/tenant"}, "the kit of stores and sinks of accounts"},
	{"wasmhost/server/audit", []string{"engine/status", "internal/storedir", "internal/storedir/journal", "wasmhost/abi"}, "who did what, in a chain; knows nothing of HTTP"},
	{"wasmhost/server/mcp", []string{"engine/status", "engine/content", "engine/action", "engine/registry", "engine/resource", "engine/tool", "internal/rawjson", "wasmhost/abi", "wasmhost/module", "wasmhost/policy"}, "a registry in MCP's form; knows no HTTP server, no host and no identity"},
	{"wasmhost/server/openai", []string{"engine/status", "engine/content", "engine/schema", "engine/action", "engine/model", "engine/tool", "engine/embed"}, "OpenAI's requests as Genkit's, and answers back; sends nothing and knows no server"},
	{"wasmhost/server/backup", []string{"engine/status", "internal/storedir", "internal/storedir/journal"}, "archives of the data directory; knows stores by their directories"},
	{"wasmhost/server/metrics", []string{"engine/status", "wasmhost", "wasmhost/server/usage", "wasmhost/tenant"}, "tells Prometheus what a host and its server do"},
	{"wasmhost/server/admin/admintest", []string{"engine/status", "wasmhost/server/admin"}, "the kit of the stores of tenants"},
	{"wasmhost/server", append(slices.Clone(leaves), "internal/caller", "internal/negotiation", "internal/storedir", "wasmhost/server/access", "wasmhost/server/admin", "wasmhost/server/audit", "wasmhost/server/backup", "wasmhost/server/mcp", "wasmhost/server/metrics", "wasmhost/server/openai", "wasmhost/server/secrets", "wasmhost/server/usage", "wasmhost/tenant", "wasmhost", "wasmhost/abi", "engine/generate", "wasmhost/capability/secret", "wasmhost/internal/condition", "wasmhost/module", "wasmhost/policy", "wasmhost/script", "engine/flowserver", "engine/flowserver/contextprovider", "engine/flowserver/durable", "internal/rawjson", "pdk"), "HTTP; needs no more of the engine than a registry, and the loop for tools that a request brings; hands out the types of scripts, a file of the kits"},
	{"wasmhost/hosttest", append(slices.Clone(leaves), "wasmhost", "wasmhost/capability/egress", "wasmhost/capability/kv", "wasmhost/capability/secret", "wasmhost/capability/vfs", "wasmhost/policy", "internal/wasmtest", "internal/rawjson", "engine/generate"), "the kits for modules and for hosts"},
	{"wasmhost", append(slices.Clone(leaves), "engine/evaluate", "engine/resource", "engine/prompt", "wasmhost/abi", "wasmhost/intercept", "wasmhost/internal/inspect", "wasmhost/capability/", "wasmhost/module", "wasmhost/policy", "wasmhost/internal/sandbox", "wasmhost/internal/compile", "wasmhost/internal/share", "wasmhost/internal/symbols", "wasmhost/internal/worker", "wasmhost/tenant", "internal/descriptors", "internal/rawjson", "wasmhost/internal/condition", "wasmhost/internal/rules", "wasmhost/internal/services", "wasmhost/script"), "adapters from actions to guests"},

	{"builtin/model/internal/wire", append(slices.Clone(leaves), "internal/rawjson"), "HTTP, events, errors and keys of the models of remote servers; knows no API"},
	{"builtin/model/internal/wire/wiretest", leaves, "the kit of the providers of models"},
	{"builtin/model/", append(slices.Clone(leaves), "internal/rawjson", "builtin/model/internal/"), "first-party models use the engine's leaves, never the façade"},
	{"builtin/evaluator/", append(slices.Clone(leaves), "engine/evaluate", "internal/rawjson"), "first-party evaluators ask their judges through the registry, never the façade"},
	{"builtin/middleware/", leaves, "first-party middleware uses the engine's leaves, never the façade"},
	{"builtin/vectorstore/", append(slices.Clone(leaves), "internal/storedir", "internal/storedir/journal", "builtin/vectorstore/", "internal/rawjson"), "first-party stores use the engine's leaves, never the façade"},
	{"builtin/mcp", append(slices.Clone(leaves), "engine/resource", "internal/rawjson", "wasmhost/abi"), "servers of MCP; their text is cleaned where that of guests is"},
	{"builtin", append(slices.Clone(leaves), "builtin/"), "the list that the binary links"},
	{"cmd/genkit-wasm", []string{"engine/", "wasmhost/", "builtin/", "internal/ballast", "internal/datadir", "internal/closing", "internal/descriptors", "internal/guestbuild", "internal/listening", "internal/logins", "internal/packdir", "internal/prettylog", "internal/profiling", "internal/recording", "internal/scaffold", "internal/settings", "internal/storedir", "internal/tooltest"}, "the only place where engine, wasmhost and builtin meet"},
	{"examples/", []string{"engine/", "wasmhost/", "builtin/"}, "users of everything public"},
	{"test/faces", nil, "drives the binary and an example by Genkit's own tools"},
	{"bench", []string{"engine/", "wasmhost/", "builtin/", "internal/ballast", "internal/wasmtest"}, "measures everything"},
	{"test/faces/client", []string{"engine/", "wasmhost/"}, "Genkit's JS client against the flow server"},
	{"test/faces/openai", []string{"engine/", "wasmhost/"}, "OpenAI's own clients against the server"},
}

// owner says who may import a third-party module.
type owner struct {
	module string
	pkgs   []string
	why    string
}

// owners are the packages that may import a third-party module in code that ships.
var owners = []owner{
	{"github.com/tetratelabs/wazero", []string{"wasmhost/internal/sandbox", "wasmhost/internal/compile", "wasmhost/internal/memory", "wasmhost/capability/vfs", "wasmhost/internal/wasi", "wasmhost/internal/worker"}, "compile makes code, sandbox runs it in memories; vfs implements its file system, wasi what guests import, worker hands on what they do with files"},
	{"github.com/extism/go-sdk", nil, "an oracle and a benchmark's peer; tests only"},
	{"github.com/santhosh-tekuri/jsonschema", []string{"engine/schema"}, "schemas compile once, in one place"},
	{"github.com/invopop/jsonschema", []string{"engine/schema"}, "inference, in one place"},
	{"golang.org/x/text", []string{"engine/schema"}, "the words of schema errors"},
	{"go.opentelemetry.io/otel", []string{"engine/telemetry", "engine/telemetry/telemetrytest", "engine", "engine/telemetry/devexport", "engine/telemetry/otlp"}, "spans are opened in one place; the façade takes a provider"},
	{"github.com/blues/jsonata-go", []string{"builtin/evaluator/genkiteval"}, "one evaluator's expressions"},
	{"github.com/coder/websocket", []string{"engine/reflection"}, "version 2 of the Dev UI's API"},
	{"go.opentelemetry.io/contrib/bridges/otelslog", []string{"engine/telemetry/otlp"}, "log lines by OTLP"},
	{"github.com/evanw/esbuild", []string{"wasmhost/script"}, "TypeScript to JavaScript"},
	{"github.com/labstack/echo", []string{"wasmhost/server", "engine/flowserver/echoflow"}, "HTTP stays at the edge"},
	{"github.com/golang-jwt/jwt", []string{"engine/flowserver/contextprovider"}, "who calls is decided in one place"},
	{"github.com/coreos/go-oidc", []string{"wasmhost/server/access"}, "discovery, and the claims of an issuer's tokens"},
	{"github.com/go-jose/go-jose", []string{"wasmhost/server/access"}, "their signatures and keys; go-oidc is built upon it"},
	{"filippo.io/age", []string{"wasmhost/server/secrets"}, "what encrypts at rest, in one place"},
	{"github.com/modelcontextprotocol/go-sdk", []string{"builtin/mcp", "wasmhost/server/mcp"}, "MCP's messages and transports"},
	{"github.com/spf13/", []string{"cmd/genkit-wasm", "internal/settings"}, "the command line"},
	{"github.com/prometheus/client_golang", []string{"wasmhost/server/metrics"}, "metrics in Prometheus' form"},
	{"golang.org/x/net", []string{"wasmhost/capability/egress"}, "what may stand in a header"},
	{"go.etcd.io/bbolt", nil, "writes files as earlier versions did; tests only"},
	{"golang.org/x/oauth2", []string{"builtin/model/vertexai"}, "Google's default credentials"},
	{"golang.org/x/time", []string{"wasmhost", "wasmhost/server/access", "wasmhost/tenant"}, "calls per minute; signatures a second"},
	{"golang.org/x/sys", []string{"wasmhost/internal/memory", "wasmhost/internal/compile", "wasmhost/internal/worker", "cmd/genkit-wasm"}, "memory maps; what confines a worker, and whether it is offered"},
	{"github.com/mattn/go-isatty", []string{"cmd/genkit-wasm"}, "terminals"},
	{"golang.org/x/term", []string{"cmd/genkit-wasm"}, "how wide a terminal is"},
	{"github.com/stretchr/testify", []string{"wasmhost/module/moduletest", "wasmhost/server/admin/admintest", "wasmhost/hosttest", "wasmhost/capability/kv/kvtest", "engine/flowserver/durable/durabletest", "wasmhost/server/access/accesstest", "wasmhost/server/audit/audittest", "wasmhost/server/usage/usagetest", "wasmhost/server/secrets/secretstest"}, "tests and kits"},
	{"go.uber.org/goleak", []string{"wasmhost/hosttest"}, "tests and kits"},
	{"go.yaml.in/yaml", []string{"engine/prompt/internal/frontmatter", "internal/settings", "internal/yamljson"}, "front matter, what people write in YAML; spec files, in tests"},
	{"github.com/rogpeppe/go-internal", nil, "txtar files, in tests"},
	{"go.opentelemetry.io/proto/otlp", nil, "an oracle of what collectors read; tests only"},
	{"google.golang.org/protobuf", nil, "their messages in JSON; tests only"},
	{"code.dny.dev/ssrf", nil, "an oracle of addresses; tests only"},
}

type pkg struct {
	ImportPath   string
	Dir          string
	Imports      []string
	TestImports  []string // of tests in the package, XTestImports of those beside it
	XTestImports []string
	GoFiles      []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports,TestImports,XTestImports,GoFiles", "./...")
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

func rowOf(name string) (rule, bool) {
	best, found := rule{}, false
	for _, r := range rules {
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
			t.Errorf("package %s has no row in the table of rules", name)
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
	for _, r := range rules {
		if !used[r.name] {
			t.Errorf("the row %q has no package", r.name)
		}
	}
}

// Who calls is the server's matter. The engine, the host of modules and the sandboxes below it know tenants by
// name at most: an embedder brings identities of its own, or none.
func TestNothingBelowTheServerKnowsIdentities(t *testing.T) {
	imports := map[string][]string{}
	for _, p := range packages(t) {
		imports[p.ImportPath] = p.Imports
	}
	looked := 0
	for start := range imports {
		name := strings.TrimPrefix(strings.TrimPrefix(start, root), "/")
		below := strings.HasPrefix(name, "engine") || strings.HasPrefix(name, "wasmhost") && !strings.HasPrefix(name, "wasmhost/server")
		if !below {
			continue
		}
		looked++
		seen := map[string]bool{}
		var walk func(at string, path []string)
		walk = func(at string, path []string) {
			if seen[at] {
				return
			}
			seen[at] = true
			if within(strings.TrimPrefix(at, root+"/"), "wasmhost/server/") {
				t.Errorf("%s depends on what knows who calls: %s", name, strings.Join(path, " → "))
				return
			}
			for _, next := range imports[at] {
				walk(next, append(slices.Clip(path), next))
			}
		}
		walk(start, []string{start})
	}
	if looked < 40 {
		t.Errorf("only %d packages were looked at", looked)
	}
}

// testsReach lists, for each part of the tree, the parts that its tests may use besides internal
// packages, kits for tests among them.
var testsReach = map[string][]string{
	"engine":   {"engine/"},
	"wasmhost": {"engine/", "wasmhost/"},
	"builtin":  {"engine/", "builtin/"},
	"internal": {"engine/action", "engine/schema", "engine/status", "engine/tool", "wasmhost/"},
}

func TestTestsImportOnlyWhatTheyMay(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, root), "/")
		part, _, _ := strings.Cut(name, "/")
		reach, limited := testsReach[part]
		for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
			rest, own := strings.CutPrefix(imp, root+"/")
			first, _, _ := strings.Cut(imp, "/")
			switch {
			case own && !limited, own && strings.HasPrefix(rest, "internal/"), !own && !strings.Contains(first, "."):
			case own && name == "engine" && rest == "builtin": // its example
			case own && rest == "engine" && part == "wasmhost":
				t.Errorf("tests of %s use the façade, which knows nothing of modules", name)
			case own && !slices.ContainsFunc(reach, func(rule string) bool { return within(rest, rule) }):
				t.Errorf("tests of %s import %s", name, rest)
			case !own && !slices.ContainsFunc(owners, func(o owner) bool { return strings.HasPrefix(imp, o.module) }):
				t.Errorf("tests of %s import %s, which has no row in the table of owners", name, imp)
			}
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
			if !slices.Contains(o.pkgs, name) && name != "bench" {
				t.Errorf("%s imports %s, which belongs to %v (%s)", name, imp, o.pkgs, o.why)
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
var kits = []string{"internal/peer", "engine/enginetest", "engine/telemetry/telemetrytest", "wasmhost/hosttest", "wasmhost/module/moduletest", "wasmhost/server/admin/admintest", "internal/wasmtest", "wasmhost/capability/kv/kvtest", "engine/flowserver/durable/durabletest", "internal/storedir/faultfs", "wasmhost/server/access/accesstest", "wasmhost/server/audit/audittest", "wasmhost/server/usage/usagetest", "wasmhost/server/secrets/secretstest", "internal/jsengine/jsenginetest", "internal/kittest"}

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

// Tests wait for what happens, or in a bubble of synctest, and not for time to pass. A
// sleep that is no wait says what it is, and so does one in a helper that bubbles call.
func TestTestsDoNotSleep(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "ls-files", "*_test.go").Output()
	if err != nil {
		t.Skipf("not a git checkout: %v", err)
	}
	for file := range strings.FieldsSeq(string(out)) {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // removed, not yet committed
		}
		for _, line := range sleeps(t, file, text) {
			t.Errorf("%s:%d sleeps; wait for an event, use synctest, or say why", file, line)
		}
	}
}

func TestSleepsAreFound(t *testing.T) {
	const text = `package p

func f() {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1)
	})
	time.Sleep(2) // the pace of the calls
	time.Sleep(3)
}
`
	if got := sleeps(t, "a_test.go", []byte(text)); !slices.Equal(got, []int{8}) {
		t.Errorf("got lines %v, want [8]", got)
	}
}

// sleeps returns the lines of a test file that sleep outside of synctest.Test, without a comment.
func sleeps(t *testing.T, file string, text []byte) (found []int) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch line := fset.Position(call.Pos()).Line; {
		case calls(call, "synctest", "Test"):
			return false
		case calls(call, "time", "Sleep") && !strings.Contains(lines[line-1], "//"):
			found = append(found, line)
		}
		return true
	})
	return found
}

// calls reports whether a call is one of a package's function.
func calls(c *ast.CallExpr, pkg, name string) bool {
	s, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg && s.Sel.Name == name
}

// exports are limits of packages of wasmhost that count by themselves, each with its reason.
var exports = map[string]int{
	"wasmhost/abi":                        65, // the contract's Go form; it grows with the contract
	"wasmhost/script":                     24, // which engine there is, and the form and bounds of a script; embedders meet three names of it
	"wasmhost/server/admin":               40, // the resources of a server's operator; embedders of the host alone do not meet them
	"wasmhost/server/audit":               15, // what an embedder of the server hands to it, and what it answers with
	"wasmhost/server/backup":              20, // what the command line does with archives; embedders of the host alone do not meet it
	"wasmhost/server/mcp":                 7,  // what the server and the command line hand to it; embedders of the host alone do not meet it
	"wasmhost/server/openai":              20, // what the server hands to it, and OpenAI's words that come back
	"wasmhost/server/metrics":             10, // what an embedder of the server hands to it
	"wasmhost/server/secrets":             20, // what an embedder of the server hands to it, and the host gets from it; a Backend, and what goes through it
	"wasmhost/server/secrets/secretstest": 2,  // a kit, which tests alone import
	"wasmhost/server/audit/audittest":     2,  // a kit, which tests alone import
	"wasmhost/server/usage/usagetest":     5,  // a kit, which tests alone import
	"wasmhost/server/usage":               48, // embedders bring a Sink and a Queue of their own, and read what it gets
	"wasmhost/server/access":              49, // embedders bring an Authenticator or a Store of their own: it is all doors and what goes through them
}

// Exported names of wasmhost can't change after the first tag: there are few, and the
// rest is internal.
func TestWasmhostExportsLittle(t *testing.T) {
	const most = 176 // 12 of them are intercept's
	total, own := 0, map[string]int{}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, root+"/")
		if !within(name, "wasmhost/") || strings.Contains(name, "/internal/") {
			continue
		}
		for _, file := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				if exports[name] > 0 {
					own[name] += len(exported(d))
					continue
				}
				total += len(exported(d))
			}
		}
	}
	for name, most := range exports {
		if own[name] == 0 || own[name] > most {
			t.Errorf("%s exports %d names, want 1 to %d", name, own[name], most)
		}
	}
	if total == 0 || total > most {
		t.Errorf("wasmhost exports %d names, want 1 to %d", total, most)
	}
}

// exported returns the exported names that a declaration adds to its package.
func exported(d ast.Decl) (names []string) {
	add := func(id *ast.Ident) {
		if id.IsExported() {
			names = append(names, id.Name)
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			add(d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				add(s.Name)
			case *ast.ValueSpec:
				for _, id := range s.Names {
					add(id)
				}
			}
		}
	}
	return names
}

// Somebody who writes a store of their own writes four methods; the others are optional
// interfaces.
func TestStoresHaveFewMethods(t *testing.T) {
	const most = 4
	stores := map[string]int{}
	for _, p := range packages(t) {
		if strings.Contains(p.ImportPath, "/internal/") {
			continue // not for others to implement
		}
		for _, file := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for name, methods := range interfaces(f) {
				if slices.ContainsFunc([]string{"Store", "Manager", "Sink", "Backend", "Keeper", "Queue"}, func(kind string) bool { return strings.HasSuffix(name, kind) }) {
					stores[strings.TrimPrefix(p.ImportPath, root+"/")+"."+name] = methods
				}
			}
		}
	}
	for _, name := range []string{"wasmhost/module.Store", "wasmhost/capability/kv.Store", "engine/session.Store", "engine/agent.Store", "engine/flowserver/durable.Manager", "wasmhost/tenant.Sink", "wasmhost/server/secrets.Backend", "wasmhost/server/audit.Keeper", "wasmhost/server/usage.Queue"} {
		if stores[name] == 0 {
			t.Errorf("the interface %s was not found", name)
		}
	}
	for name, methods := range stores {
		if methods > most {
			t.Errorf("%s has %d methods, want at most %d; make the others optional interfaces", name, methods, most)
		}
	}
}

// interfaces returns the exported interfaces of a file with the number of their methods and
// embedded interfaces.
func interfaces(f *ast.File) map[string]int {
	found := map[string]int{}
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.IsExported() {
			if it, ok := spec.Type.(*ast.InterfaceType); ok {
				for _, m := range it.Methods.List {
					found[spec.Name.Name] += max(1, len(m.Names))
				}
			}
		}
		return true
	})
	return found
}

// The list of experimental parts in CHANGELOG.md names the packages that have a mark in a doc comment, and no others.
func TestExperimentalMarksAreListed(t *testing.T) {
	marked := map[string]bool{}
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			src, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if experimental.Match(src) {
				marked[strings.TrimPrefix(p.ImportPath, root+"/")] = true
			}
		}
	}
	log, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range listing.FindAllSubmatch(log, -1) {
		listed[string(m[1])] = true
	}
	for name := range marked {
		if !listed[name] {
			t.Errorf("%s has a mark \"Experimental:\" and is not in the list of CHANGELOG.md", name)
		}
	}
	for name := range listed {
		if !marked[name] {
			t.Errorf("CHANGELOG.md lists %s as experimental, and nothing there has the mark", name)
		}
	}
}

var (
	experimental = regexp.MustCompile(`(?m)^\s*// Experimental: `)
	listing      = regexp.MustCompile("(?m)^- `((?:engine|wasmhost|builtin|pdk)[a-z/]*)`: ")
)

// Code of sync.Map and atomic.Pointer is generic, so that each package that uses one has a copy, of which the linker takes
// one for the program. The copy of a package that the race detector does not watch hides what it orders, and what
// that is, looks like a race.
func TestUnwatchedPackagesUseNoGenericCodeOfSync(t *testing.T) {
	flags, err := exec.CommandContext(t.Context(), "make", "-s", "race-flags").Output()
	if err != nil {
		peer.Missing(t, "make does not tell the flags of the race detector: %v", err)
	}
	patterns := unwatched.FindAllStringSubmatch(string(flags), -1)
	if len(patterns) == 0 {
		t.Errorf("no package is left unwatched by %q", flags)
	}
	generic := regexp.MustCompile(`\b(sync\.Map|atomic\.Pointer\[)`)
	for _, p := range patterns {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{$dir := .Dir}}{{range .GoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}`, p[1]).Output()
		if err != nil {
			t.Fatalf("go list %s: %v", p[1], err)
		}
		for file := range strings.FieldsSeq(string(out)) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if found := generic.Find(text); found != nil {
				t.Errorf("%s uses %s, and is left unwatched by %s in the Makefile", file, found, p[1])
			}
		}
	}
}

var unwatched = regexp.MustCompile(`-gcflags=(\S+)=-race=false`)
