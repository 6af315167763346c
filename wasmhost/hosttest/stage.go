package hosttest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// patience is how long a case's uploads and calls may take beyond their deadlines on a
// machine that does much else. The promised bounds are far smaller; see
// docs/security.md.
const patience = 20 * time.Second

// canaryVariable is the environment variable that holds it.
const canaryVariable = "GENKIT_HOSTTEST_SECRET"

// stage is a host with a customer's module beside whatever a case brings, and the three
// oracles that look at it after each case.
type stage struct {
	host     *wasmhost.Host
	logs     *journal
	world    *world
	baseline uint64 // bytes of memory before the first case
	mu       sync.Mutex
	seen     []string // guarded by mu: every text that left the host
}

// newStage opens a host with open and gives it a customer.
func newStage(t *testing.T, open func(testing.TB, wasmhost.Config) *wasmhost.Host) *stage {
	t.Helper()
	t.Setenv(canaryVariable, canary)
	s := &stage{logs: &journal{}, world: newWorld(t)}
	config := wasmhost.Config{
		Logger:  slog.New(s.logs),
		Mounts:  map[string]*vfs.Mount{mountName: mount(t)},
		Limits:  policy.Limits{Concurrency: 64, InputBytes: 8 << 20, MemoryBytes: 64 << 20},
		Tenants: map[string]wasmhost.TenantConfig{otherTenant: {}},
	}
	s.world.configure(&config)
	s.host = open(t, config)
	require.NoError(t, s.world.registry.AddProvider(s.host.Provider(hostileTenant)))
	_, err := s.host.Load(t.Context(), otherTenant, customer())
	require.NoError(t, err)
	return s
}

// mount makes that directory: a file that guests may read, and beside it one with the canary,
// to which a link leads.
func mount(t *testing.T) *vfs.Mount {
	t.Helper()
	top := t.TempDir()
	dir, secret := filepath.Join(top, "docs"), filepath.Join(top, "secret.txt")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("hello"), 0o600))
	require.NoError(t, os.WriteFile(secret, []byte(canary), 0o600))
	if err := os.Symlink(secret, filepath.Join(dir, "leak")); err != nil {
		t.Logf("no links here: %v", err)
	}
	if err := os.Symlink(top, filepath.Join(dir, "out")); err != nil {
		t.Logf("no links here: %v", err)
	}
	m, err := vfs.Open(dir, vfs.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// measureBaseline notes the memory that the host must be back at after each case.
func (s *stage) measureBaseline() { s.baseline = footprint() }

// customer is the module that must keep working: it gives back its input, and counts its
// calls in memory, so that a state that was left behind shows.
func customer() wasmhost.Upload {
	g := native()
	g.pages = 2
	echo := cat(call(nativeInputLen), localSet(0), i32(1024), call(nativeInput), i32(1024), localGet(0), call(nativeOutput), i32(0))
	count := cat(i32(0), i32(0), i32Load, i32(1), add, i32Store, i32(0), i32(0), i32Load, i32('0'), add, i32Store, i32(0), i32(1), call(nativeOutput), i32(0))
	g.add("echo", "i", echo)
	g.add("count", "", count)
	return g.upload("customer")
}

// load hands a module in as the hostile tenant and keeps what it says.
func (s *stage) load(ctx context.Context, up wasmhost.Upload) error {
	rec, err := s.host.Load(ctx, hostileTenant, up)
	if err != nil {
		s.saw(err)
		return err
	}
	raw, err := json.Marshal(rec.Record)
	s.saw(string(raw))
	return err
}

// outcome is the result of a call.
type outcome struct {
	out    json.RawMessage
	chunks int
	err    error
	took   time.Duration
}

// call runs a hostile tool; its input is {} when none is given. Emit, when it is not nil,
// is a reader of the chunks.
func (s *stage) call(ctx context.Context, tool, input string, emit action.Emit) (o outcome) {
	start := time.Now()
	defer func() {
		o.took = time.Since(start)
		s.saw(string(o.out))
		if o.err != nil {
			s.saw(o.err)
		}
	}()
	if input == "" {
		input = "{}"
	}
	a, err := s.resolve(ctx, hostileTenant, tool)
	if err != nil {
		return outcome{err: err}
	}
	o.out, o.err = a.RunJSON(ctx, json.RawMessage(input), func(chunk json.RawMessage) error {
		o.chunks++
		if o.chunks <= 100 {
			s.saw(string(chunk))
		}
		if emit == nil {
			return nil
		}
		return emit(chunk)
	})
	return o
}

// resolve finds a tool of either form.
func (s *stage) resolve(ctx context.Context, tenant, tool string) (action.Action, error) {
	return s.host.Provider(tenant).Resolve(ctx, action.Key{Kind: action.Tool, Name: tool})
}

// saw keeps a text, or an error with all that stands in it.
func (s *stage) saw(v any) {
	text := fmt.Sprint(v)
	if err, ok := v.(error); ok {
		wire := status.ToWire(err, false)
		text = fmt.Sprintf("%v|%s|%s", err, wire.Message, wire.Details)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, text)
}

// suspended waits until so many of the hostile tenant's calls wait for something, and none runs.
func (s *stage) suspended(t *testing.T, calls int) {
	t.Helper()
	require.Eventually(t, func() bool {
		u, err := s.host.Usage(hostileTenant)
		return err == nil && u.Running == 0 && u.Suspended == calls
	}, patience, time.Millisecond)
}

// callCustomer makes a call of the customer's, with a secret in its input and in its context. It
// must always work, on a fresh state.
func (s *stage) callCustomer(t *testing.T) {
	t.Helper()
	ctx := action.WithContext(t.Context(), json.RawMessage(`{"auth":"`+canary+`"}`))
	echo, err := s.resolve(ctx, otherTenant, "customer/echo")
	require.NoError(t, err)
	in := `{"secret":"` + canary + `"}`
	out, err := echo.RunJSON(ctx, json.RawMessage(in), nil)
	require.NoError(t, err, "the customer's tool no longer works")
	require.JSONEq(t, in, string(out))
	count, err := s.resolve(ctx, otherTenant, "customer/count")
	require.NoError(t, err)
	out, err = count.RunJSON(ctx, json.RawMessage("{}"), nil)
	require.NoError(t, err)
	require.Equal(t, "1", string(out), "the customer's tool saw an earlier call")
}

// Memory may lie this far above the baseline when a case has ended: what the runtime and
// the allocator keep for later. The baseline is that of the whole corpus, so what a case
// leaves adds up.
const slack = 32 << 20

// inWorker is where goroutines are that live as long as a worker process does; a case may
// bring one to its end, and the next one is new.
const inWorker = "github.com/genkit-wasm/genkit-wasm/wasmhost/internal/worker."

// examine runs the three oracles: no goroutine left, memory back to its baseline, no
// secret in any output.
func (s *stage) examine(t *testing.T, running goleak.Option) {
	t.Helper()
	for _, rec := range s.modules(t, hostileTenant) {
		require.NoError(t, s.host.Remove(t.Context(), hostileTenant, rec))
	}
	err := goleak.Find(running, goleak.IgnoreAnyFunction(inWorker+"(*process).wait"), goleak.IgnoreAnyFunction(inWorker+"(*ringTransport).receive"))
	if err != nil {
		t.Errorf("goroutines are left: %v", err)
	}
	if now := footprint(); now > s.baseline+slack {
		t.Errorf("memory rose from %d to %d KiB", s.baseline>>10, now>>10)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := s.logs.take()
	if t.Failed() {
		for _, line := range lines[max(0, len(lines)-20):] {
			t.Logf("the host logged: %.400s", line)
		}
	}
	for _, text := range append(s.seen, lines...) {
		if i := strings.Index(text, canary[:12]); i >= 0 {
			t.Errorf("a secret got out: %.200q", text[max(0, i-80):])
		}
		assert.NotContains(t, text, "goroutine ", "a stack of the host got out")
	}
	s.seen = nil
}

func (s *stage) modules(t *testing.T, tenant string) []string {
	t.Helper()
	records, err := s.host.Modules(tenant)
	require.NoError(t, err)
	names := make([]string, len(records))
	for i, r := range records {
		names[i] = r.Name
	}
	return names
}

// footprint is how much memory the process holds after all garbage is gone: what the
// system counts as resident where it says so, else what Go's heap and stacks hold. The
// race detector's shadow of the heap never shrinks, so there the latter counts too.
func footprint() uint64 {
	runtime.GC() // the first empties pools, the second frees what was in them
	debug.FreeOSMemory()
	if !raceDetector {
		if raw, err := os.ReadFile("/proc/self/statm"); err == nil {
			if fields := strings.Fields(string(raw)); len(fields) > 1 {
				if pages, err := strconv.ParseUint(fields[1], 10, 64); err == nil {
					return pages * uint64(os.Getpagesize())
				}
			}
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// journal is a slog.Handler that keeps every line whole.
type journal struct {
	mu     sync.Mutex // guards the fields below
	lines  []string
	guests int // lines of guests
}

var _ slog.Handler = (*journal)(nil)

func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines, j.guests = nil, 0
	return lines
}

// fromGuests returns how many lines guests have logged since the last case.
func (j *journal) fromGuests() (n int, lines []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.guests, append([]string(nil), j.lines...)
}

// Enabled lets every level through.
func (j *journal) Enabled(context.Context, slog.Level) bool { return true }

// Handle keeps message and attributes.
func (j *journal) Handle(_ context.Context, rec slog.Record) error {
	text := rec.Message
	rec.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, text)
	if rec.Message == wasmhost.GuestLog {
		j.guests++
	}
	return nil
}

// WithAttrs keeps the handler: what it would add is known.
func (j *journal) WithAttrs([]slog.Attr) slog.Handler { return j }

// WithGroup keeps the handler.
func (j *journal) WithGroup(string) slog.Handler { return j }
