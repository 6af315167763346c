package echoflow

import (
	"cmp"
	"container/list"
	"net/netip"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// RateLimitConfig says how many calls each caller has.
type RateLimitConfig struct {
	// PerSecond are the calls in a second in the long run, and Burst those at
	// once. PerSecond is required; Burst is PerSecond, at least 1, when it is 0.
	PerSecond float64
	Burst     int
	// Caller names who calls; nil takes the address of the connection, for IPv6
	// its /64. It is not what a header says: behind a proxy, give a function
	// that knows the proxy.
	Caller func(c echo.Context) string
	// MaxCallers bounds those who are remembered: 10 000. Of more, who called
	// longest ago is forgotten.
	MaxCallers int
}

// RateLimit refuses calls over the limit with RESOURCE_EXHAUSTED (429) and says when to
// try again. It panics when PerSecond is not positive.
func RateLimit(c RateLimitConfig) echo.MiddlewareFunc {
	if c.PerSecond <= 0 {
		panic("echoflow: RateLimitConfig.PerSecond must be positive")
	}
	l := &limiter{
		rate: c.PerSecond, burst: float64(cmp.Or(c.Burst, max(1, int(c.PerSecond)))), most: cmp.Or(c.MaxCallers, 10_000),
		byCaller: map[string]*list.Element{}, recent: list.New(),
	}
	caller := c.Caller
	if caller == nil {
		caller = address
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if wait := l.take(caller(c), time.Now()); wait > 0 {
				err := status.Publicf(status.ResourceExhausted, "too many calls").WithRetryAfter(wait)
				// Echo's own error handler knows the HTTP status by this, and
				// [Fail] the rest.
				return echo.NewHTTPError(err.Code.HTTP(), err.Message).SetInternal(err)
			}
			return next(c)
		}
	}
}

func address(c echo.Context) string {
	ap, err := netip.ParseAddrPort(c.Request().RemoteAddr)
	if err != nil {
		return c.Request().RemoteAddr
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// limiter holds a bucket of tokens for each caller.
type limiter struct {
	rate, burst float64
	most        int

	mu       sync.Mutex // guards the fields below
	byCaller map[string]*list.Element
	recent   *list.List // of *bucket; who called last is first
}

type bucket struct {
	caller string
	tokens float64
	at     time.Time
}

// take takes a token, or returns how long until there is one.
func (l *limiter) take(caller string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	element, ok := l.byCaller[caller]
	if !ok {
		if l.recent.Len() >= l.most {
			last, _ := l.recent.Remove(l.recent.Back()).(*bucket)
			delete(l.byCaller, last.caller)
		}
		element = l.recent.PushFront(&bucket{caller: caller, tokens: l.burst, at: now})
		l.byCaller[caller] = element
	}
	l.recent.MoveToFront(element)
	b, _ := element.Value.(*bucket)
	b.tokens = min(l.burst, b.tokens+max(0, now.Sub(b.at).Seconds())*l.rate)
	b.at = now
	if b.tokens < 1 {
		return max(time.Millisecond, time.Duration((1-b.tokens)/l.rate*float64(time.Second)))
	}
	b.tokens--
	return 0
}
