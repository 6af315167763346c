package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// caller does one job on one input.
type caller func(b *testing.B, in []byte) []byte

var sizes = []struct {
	name string
	size int
}{{"100B", 100}, {"1KB", 1 << 10}, {"1MB", 1 << 20}}

// few is how many of something a benchmark has. With -short it has so few that it takes seconds: that shows that
// it works, and its figures say nothing.
func few(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}

// kitGuest is the guest in Go that uses the kit as an author does. That of guests/gocalc uses encoding/json alone, in both
// conventions.
const kitGuest = "../pdk/go/internal/benchguest"

// request is a JSON object of about size bytes that asks for 40+2.
func request(size int) []byte {
	head, tail := `{"a":40,"b":2,"pad":"`, `"}`
	return []byte(head + strings.Repeat("x", max(size-len(head)-len(tail), 0)) + tail)
}

// BenchmarkAdd is the table of docs/benchmarks.md: the same job, add two numbers out
// of a JSON object, over every way to reach a tool. All of it is one run.
func BenchmarkAdd(b *testing.B) {
	variants := []struct {
		name string
		make func(b *testing.B) caller
	}{
		{"native_go", nativeTool},
		{"wasm_c_genkit_v1", wasmTool("../examples/calc/calc.wasm", "", false)},
		{"wasm_c_extism", wasmTool("guests/calc-extism.wasm", "", true)},
		{"wasm_go_genkit_v1", wasmTool(kitGuest, "", true)},
		{"wasm_go_encoding_json", wasmTool("guests/gocalc", "", true)},
		{"wasm_go_extism", wasmTool("guests/gocalc", "extism", true)},
		{"extism_sdk_c_reused", sdkReused("guests/calc-extism.wasm", "")},
		{"extism_sdk_c_fresh_timeout", sdkFresh("guests/calc-extism.wasm", "")},
		{"extism_sdk_go_reused", sdkReused("guests/gocalc", "extism")},
		{"extism_sdk_go_fresh_timeout", sdkFresh("guests/gocalc", "extism")},
		{"stdio_subprocess", subprocess},
		{"loopback_http", loopback},
	}
	for _, v := range variants {
		b.Run("tool="+v.name, func(b *testing.B) {
			call := v.make(b)
			for _, s := range sizes[:few(len(sizes), 2)] {
				in := request(s.size)
				b.Run("size="+s.name, func(b *testing.B) {
					checkSum(b, call(b, in))
					b.ReportAllocs()
					for b.Loop() {
						call(b, in)
					}
				})
			}
		})
	}
}

func checkSum(b *testing.B, out []byte) {
	b.Helper()
	var got struct{ Sum int }
	require.NoError(b, json.Unmarshal(out, &got), "%s", out)
	require.Equal(b, 42, got.Sum)
}

type pair struct {
	A   int64  `json:"a"`
	B   int64  `json:"b"`
	Pad string `json:"pad"`
}

type sum struct {
	Sum int64 `json:"sum"`
}

func addJSON(in []byte) ([]byte, error) {
	var p pair
	if err := json.Unmarshal(in, &p); err != nil {
		return nil, err
	}
	return json.Marshal(sum{p.A + p.B})
}

const (
	inputSchema  = `{"type":"object","properties":{"a":{"type":"number"},"b":{"type":"number"},"pad":{"type":"string"}},"required":["a","b"],"additionalProperties":false}`
	outputSchema = `{"type":"object","properties":{"sum":{"type":"number"}},"required":["sum"],"additionalProperties":false}`
)

// nativeTool is a tool in Go, called through the engine as every tool is: both
// schemas checked.
func nativeTool(b *testing.B) caller { return nativeAction(b, inputSchema, outputSchema, addJSON) }

func nativeAction(b *testing.B, inputSchema, outputSchema string, fn func(in []byte) ([]byte, error)) caller {
	b.Helper()
	a, err := tool.NewRaw("add", "", json.RawMessage(inputSchema), json.RawMessage(outputSchema),
		func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
			return fn(in)
		})
	require.NoError(b, err)
	return runAction(a)
}

func runAction(a action.Action) caller {
	return func(b *testing.B, in []byte) []byte {
		out, err := a.RunJSON(context.Background(), in, nil)
		if err != nil {
			b.Fatal(err)
		}
		return out
	}
}

// wasmTool is a module in a host, called through the engine: both schemas checked,
// fresh state, fuel, deadline and memory limit.
func wasmTool(source, tag string, sidecar bool) func(b *testing.B) caller {
	var descriptor string
	if sidecar {
		descriptor = described("add", inputSchema, outputSchema)
	}
	return wasmAction(source, tag, "add", descriptor)
}

func described(tool, inputSchema, outputSchema string) string {
	return `{"abi":"genkit/1","name":"calc","tools":[{"name":"` + tool + `","inputSchema":` + inputSchema + `,"outputSchema":` + outputSchema + `}]}`
}

func wasmAction(source, tag, name, descriptor string) func(b *testing.B) caller {
	return func(b *testing.B) caller {
		b.Helper()
		host, err := wasmhost.New(b.Context(), wasmhost.Config{CacheDir: cacheDir(b), Limits: policy.Limits{InputBytes: 4 << 20, OutputBytes: 4 << 20}})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, host.Close(context.Background())) })
		up := wasmhost.Upload{Name: "calc", Wasm: guest(b, source, tag)}
		if descriptor != "" {
			up.Descriptor = []byte(descriptor)
		}
		_, err = host.Load(b.Context(), wasmhost.DefaultTenant, up)
		require.NoError(b, err)
		a, err := host.Provider(wasmhost.DefaultTenant).Resolve(b.Context(), action.Key{Kind: action.Tool, Name: "calc/" + name})
		require.NoError(b, err)
		return runAction(a)
	}
}

// BenchmarkSandboxOnly is the same call without the engine's schema checks, which
// cost as much for every kind of tool.
func BenchmarkSandboxOnly(b *testing.B) {
	for _, v := range []struct{ name, source, tag string }{
		{"c_genkit_v1", "../examples/calc/calc.wasm", ""},
		{"c_extism", "guests/calc-extism.wasm", ""},
		{"go_genkit_v1", kitGuest, ""},
		{"go_extism", "guests/gocalc", "extism"},
	} {
		b.Run("guest="+v.name, func(b *testing.B) {
			host, err := wasmhost.New(b.Context(), wasmhost.Config{CacheDir: cacheDir(b), Limits: policy.Limits{InputBytes: 4 << 20, OutputBytes: 4 << 20}})
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, host.Close(context.Background())) })
			_, err = host.Load(b.Context(), wasmhost.DefaultTenant, wasmhost.Upload{
				Name: "calc", Wasm: guest(b, v.source, v.tag),
				Descriptor: []byte(`{"abi":"genkit/1","name":"calc","tools":[{"name":"add"},{"name":"echo"}]}`),
			})
			require.NoError(b, err)
			for _, export := range []string{"add", "echo"} {
				a, err := host.Provider(wasmhost.DefaultTenant).Resolve(b.Context(), action.Key{Kind: action.Tool, Name: "calc/" + export})
				require.NoError(b, err)
				call := runAction(a)
				for _, s := range sizes[:few(len(sizes), 2)] {
					in := request(s.size)
					b.Run(export+"/size="+s.name, func(b *testing.B) {
						call(b, in)
						b.ReportAllocs()
						for b.Loop() {
							call(b, in)
						}
					})
				}
			}
		})
	}
}

func sdkManifest(b *testing.B, source, tag string) extism.Manifest {
	b.Helper()
	return extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: guest(b, source, tag)}}}
}

func sdkCall(plugin *extism.Plugin) caller {
	return func(b *testing.B, in []byte) []byte {
		rc, out, err := plugin.Call("add", in)
		if err != nil || rc != 0 {
			b.Fatal(rc, err)
		}
		return bytes.Clone(out)
	}
}

// sdkReused is the Extism SDK with one plugin kept: no timeout, state kept.
func sdkReused(source, tag string) func(b *testing.B) caller {
	return func(b *testing.B) caller {
		b.Helper()
		ctx := context.Background()
		plugin, err := extism.NewPlugin(ctx, sdkManifest(b, source, tag), extism.PluginConfig{EnableWasi: true}, nil)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, plugin.Close(ctx)) })
		return sdkCall(plugin)
	}
}

// sdkFresh is the Extism SDK with what comes closest to the host's guarantees: a new
// instance for each call, and a timeout.
func sdkFresh(source, tag string) func(b *testing.B) caller {
	return func(b *testing.B) caller {
		b.Helper()
		ctx := context.Background()
		manifest := sdkManifest(b, source, tag)
		manifest.Timeout = 5000
		compiled, err := extism.NewCompiledPlugin(ctx, manifest, extism.PluginConfig{EnableWasi: true}, nil)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, compiled.Close(ctx)) })
		return func(b *testing.B, in []byte) []byte {
			plugin, err := compiled.Instance(ctx, extism.PluginInstanceConfig{})
			if err != nil {
				b.Fatal(err)
			}
			out := sdkCall(plugin)(b, in)
			if err := plugin.Close(ctx); err != nil {
				b.Fatal(err)
			}
			return out
		}
	}
}

// subprocess is a tool server of its own process: frames of a length and JSON over
// stdin and stdout.
func subprocess(b *testing.B) caller {
	b.Helper()
	exe, err := os.Executable()
	require.NoError(b, err)
	cmd := exec.CommandContext(b.Context(), exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	stdin, err := cmd.StdinPipe()
	require.NoError(b, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	r := bufio.NewReader(stdout)
	return func(b *testing.B, in []byte) []byte {
		if err := writeFrame(stdin, in); err != nil {
			b.Fatal(err)
		}
		out, err := readFrame(r)
		if err != nil {
			b.Fatal(err)
		}
		return out
	}
}

const childEnv = "BENCH_STDIO_TOOL"

// compiler compiles modules in a process of its own: this program, started again.
var compiler []string

func TestMain(m *testing.M) {
	compiler = wasmhost.CompileChild()
	if os.Getenv(childEnv) != "" {
		serveStdio()
		return
	}
	code := m.Run()
	built.remove()
	os.Exit(code)
}

func serveStdio() {
	r := bufio.NewReader(os.Stdin)
	for {
		in, err := readFrame(r)
		if err != nil {
			return
		}
		out, err := addJSON(in)
		if err != nil || writeFrame(os.Stdout, out) != nil {
			return
		}
	}
}

func writeFrame(w io.Writer, b []byte) error {
	frame := binary.LittleEndian.AppendUint32(make([]byte, 0, len(b)+4), uint32(len(b)))
	_, err := w.Write(append(frame, b...))
	return err
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.LittleEndian.Uint32(head[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// loopback is a tool behind HTTP on this machine, with connections kept.
func loopback(b *testing.B) caller {
	b.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, err := io.ReadAll(r.Body)
		if err == nil {
			in, err = addJSON(in)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write(in)
	}))
	b.Cleanup(srv.Close)
	client := &http.Client{Timeout: 10 * time.Second}
	b.Cleanup(client.CloseIdleConnections)
	return func(b *testing.B, in []byte) []byte {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, srv.URL, bytes.NewReader(in))
		if err != nil {
			b.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		out, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			b.Fatal(err)
		}
		return out
	}
}

// builds keeps the benchmarks' builds, in one folder for the process.
type builds struct {
	mu    sync.Mutex
	dir   string
	files map[string][]byte
}

var built = &builds{files: map[string][]byte{}}

func (s *builds) remove() {
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

func (s *builds) folder(tb testing.TB) string {
	tb.Helper()
	if s.dir == "" {
		var err error
		s.dir, err = os.MkdirTemp("", "bench")
		require.NoError(tb, err)
	}
	return s.dir
}

func cacheDir(tb testing.TB) string {
	tb.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	return filepath.Join(built.folder(tb), "cache")
}

// guest reads a .wasm file, or builds a Go folder with a tag.
func guest(tb testing.TB, source, tag string) []byte {
	tb.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	key := source + "|" + tag
	if b, ok := built.files[key]; ok {
		return b
	}
	file := source
	if !strings.HasSuffix(source, ".wasm") {
		file = filepath.Join(built.folder(tb), fmt.Sprintf("guest%d.wasm", len(built.files)))
		cmd := exec.CommandContext(tb.Context(), "go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-tags="+tag, "-o", file, ".")
		cmd.Dir = source
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
		text, err := cmd.CombinedOutput()
		require.NoError(tb, err, "%s", text)
	}
	b, err := os.ReadFile(file)
	require.NoError(tb, err)
	built.files[key] = b
	return b
}

// The guests of the table do what the table says, in a test so that it is seen
// without a benchmark run.
func TestEveryToolOfTheTableAdds(t *testing.T) {
	for _, source := range []string{"../examples/calc/calc.wasm", "guests/calc-extism.wasm"} {
		require.NotEmpty(t, guest(t, source, ""))
	}
	out, err := addJSON(request(100))
	require.NoError(t, err)
	require.JSONEq(t, `{"sum":42}`, string(out))
	require.Len(t, request(1<<10), 1<<10)
}
