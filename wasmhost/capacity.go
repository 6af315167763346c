package wasmhost

import (
	"context"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

const (
	// maxInFlight bounds the HTTP requests of a tenant at a time.
	maxInFlight = 64
	// generateRetry is when to come back to a tenant whose generate calls are all
	// taken: they last seconds.
	generateRetry = 2 * time.Second
)

// capacity is the part of a host that a tenant may use: its settings, its places in the
// queues, and its accounts. Guests have it, which do not know the set of modules.
type capacity struct {
	name   string
	class  string       // of worker processes
	config TenantConfig // as it was set; guarded by Host.changing, but for its ID
	limits policy.Limits
	grants *policy.Grants // nil: no bound
	// serving lets calls begin.
	serving *serving
	// inFlight bounds the HTTP requests of the tenant's guests.
	inFlight    chan struct{}
	connections *egress.Connections // of these guests
	quota       tenants.Quota
	account     *share.Account
	calls       *tenants.Tenant
	loads       *tenants.Tenant
	lists       *tenants.Tenant
	compiles    *tenants.Tenant
	decodes     *tenants.Tenant
	checks      *tenants.Tenant
	requests    *tenants.Share
	// answers counts the HTTP responses that are read for guests, replies what the host
	// has answered guests and they have not done with.
	answers, replies *tenants.Share
	// files counts the files and directories that the tenant's guests have open in mounts.
	files     *tenants.Share
	generates *generating
	bill      *bill
	lines     *tenants.Lines // of the modules, in the log
}

// generating counts the generate calls of a tenant.
type generating struct {
	mu             sync.Mutex // guards the fields below
	running, limit int64
}

func (g *generating) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running >= g.limit {
		return false
	}
	g.running++
	return true
}

func (g *generating) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
}

func (g *generating) setLimit(limit int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = limit
}

func (t *capacity) beginGenerate() (func(), error) {
	if err := t.serving.check(); err != nil {
		return nil, err
	}
	if t.generates.begin() {
		return sync.OnceFunc(t.generates.end), nil
	}
	return nil, status.Publicf(status.ResourceExhausted, "tenant limit reached: %d generate calls running; try again later", t.quota.Generates).
		WithRetryAfter(generateRetry).WithDetails(map[string]string{"quota": "generates"})
}

// place is the place of an upload in the queue, which it gives back while its module waits; nil for other calls.
func (t *capacity) place(ctx context.Context) share.Place {
	if p := t.loads.PassOf(ctx); p != nil {
		return p
	}
	return nil
}

// egressLeft fails with RESOURCE_EXHAUSTED where the tenant's guests may send nothing now. What is under way may
// overdraw the quota, which is paid back before anything else is sent.
func (t *capacity) egressLeft() error {
	wait := t.account.EgressWait()
	if wait == 0 {
		return nil
	}
	return status.Publicf(status.ResourceExhausted, "the tenant has used up its egress of %d bytes a minute; try again in %v", t.quota.EgressBytesPerMinute, max(wait.Round(time.Second), time.Second)).
		WithRetryAfter(wait).WithDetails(map[string]string{"quota": "egressBytesPerMinute"})
}
