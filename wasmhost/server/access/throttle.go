package access

import (
	"cmp"
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// ThrottleConfig configures a [Throttle]. Next is required.
type ThrottleConfig struct {
	Next Authenticator
	// Failures is how many attempts of one source may fail at once: 10.
	Failures int
	// Every is how long it takes until one more may: 6 s.
	Every time.Duration
	// MaxSources bounds the sources that are counted apart, 10,000; those beyond share one
	// count.
	MaxSources int
}

// Throttle bounds the attempts of a source that fail: an IPv4 address, or the 64 bits of an
// IPv6 address's network. Beyond them a token that is not good gets RESOURCE_EXHAUSTED and
// when to try again, and the source is asked for in [Credentials].Quick: what costs little is
// still looked at, so that a caller who shares an address with others is not locked out by them,
// and a good key goes on to work. That tells nobody anything: a good key would have worked
// anyway, and all others get one answer. It is safe for concurrent use.
type Throttle struct {
	config ThrottleConfig

	mu      sync.RWMutex // guards the fields below
	sources map[netip.Prefix]time.Time
	// rest is the count of the sources that did not fit.
	rest  time.Time
	swept time.Time
}

var _ Authenticator = (*Throttle)(nil)

// NewThrottle returns a throttle in front of another authenticator.
func NewThrottle(c ThrottleConfig) *Throttle {
	c.Failures = cmp.Or(c.Failures, 10)
	c.Every = cmp.Or(c.Every, 6*time.Second)
	c.MaxSources = cmp.Or(c.MaxSources, 10_000)
	return &Throttle{config: c, sources: map[netip.Prefix]time.Time{}}
}

// Authenticate asks the next one.
func (t *Throttle) Authenticate(ctx context.Context, c Credentials) (*Identity, error) {
	source := sourceOf(c.From)
	wait := t.wait(source)
	c.Quick = c.Quick || wait > 0
	identity, err := t.config.Next.Authenticate(ctx, c)
	switch {
	case err == nil || status.Of(err) != status.Unauthenticated:
		return identity, err
	case wait > 0:
		return nil, status.Publicf(status.ResourceExhausted, "too many attempts with keys or tokens that are not valid; try again later").WithRetryAfter(wait).WithCause(err)
	}
	t.failed(source)
	return nil, err
}

func sourceOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // all that are unknown are one
	return p
}

// A source's time is when all its failures will be made up for: each adds Every.

// wait returns how long a source has to wait until an attempt may fail again.
func (t *Throttle) wait(source netip.Prefix) time.Duration {
	t.mu.RLock()
	defer t.mu.RUnlock()
	at, ok := t.sources[source]
	if !ok && len(t.sources) >= t.config.MaxSources {
		at = t.rest
	}
	if at.IsZero() {
		return 0
	}
	return max(0, time.Until(at)-time.Duration(t.config.Failures-1)*t.config.Every)
}

func (t *Throttle) failed(source netip.Prefix) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.sources[source]
	if !ok && len(t.sources) >= t.config.MaxSources && !t.sweep(now) {
		t.rest = t.later(t.rest, now)
		return
	}
	t.sources[source] = t.later(at, now)
}

func (t *Throttle) later(at, now time.Time) time.Time {
	if at.Before(now) {
		at = now
	}
	return at.Add(t.config.Every)
}

// sweep forgets the sources that have made up for all their failures, once in a while, and
// reports whether there is room.
func (t *Throttle) sweep(now time.Time) bool {
	if now.Sub(t.swept) < t.config.Every {
		return false
	}
	t.swept = now
	for source, at := range t.sources {
		if !at.After(now) {
			delete(t.sources, source)
		}
	}
	return len(t.sources) < t.config.MaxSources
}
