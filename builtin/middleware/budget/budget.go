// Package budget ends a generate call that has used more tokens or money than it may.
//
// It owns the middleware "budget": limits for one generate call, and for a key over a
// window of time. Use:
//
//	f, err := budget.New(budget.Options{
//		Prices: map[string]budget.Price{"openai/gpt-5-mini": {Input: 0.25, Output: 2}},
//		Window: time.Hour, Key: budget.Limits{MaxCost: 1}, KeyOf: user,
//	})
//	err = middleware.Register(reg, f)
//	… engine.WithUse(engine.UseName("budget", budget.Config{MaxTokens: 20000}))
//
// The use of a call is not known before it is made: a call is refused once the
// budget is used up, with RESOURCE_EXHAUSTED, so that the last one may overdraw it, and
// calls that run at once may each do so. Every model call of the loop counts; it
// stands last in `use` to see those that retry and fallback make. A model that tells
// no tokens is counted at a token for four characters; an answer from the cache is
// free. The operator's limits hold whatever the caller asks for. A factory's windows
// are its own and safe for concurrent use.
package budget

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Name is the middleware's name.
const Name = "budget"

// MaxKeys bounds how many windows are kept; past it the oldest is forgotten.
const MaxKeys = 10000

// DefaultWindow is how long a key's budget lasts when nobody says.
const DefaultWindow = time.Hour

// Config is the config of a generate call. It narrows the operator's limits.
type Config struct {
	MaxTokens    float64 `json:"maxTokens,omitempty" jsonschema:"minimum=0" jsonschema_description:"The tokens, of input and output, that this generate call may use. 0: no limit."`
	MaxCost      float64 `json:"maxCost,omitempty" jsonschema:"minimum=0" jsonschema_description:"What this generate call may cost, in the unit of the operator's prices. 0: no limit."`
	Key          string  `json:"key,omitempty" jsonschema:"maxLength=256" jsonschema_description:"Whose budget is used, where the operator does not say."`
	MaxKeyTokens float64 `json:"maxKeyTokens,omitempty" jsonschema:"minimum=0" jsonschema_description:"The tokens that the key may use in a window. 0: no limit."`
	MaxKeyCost   float64 `json:"maxKeyCost,omitempty" jsonschema:"minimum=0" jsonschema_description:"What the key may cost in a window. 0: no limit."`
}

// Limits are amounts; 0 means no limit.
type Limits struct{ MaxTokens, MaxCost float64 }

// Price is per million tokens.
type Price struct{ Input, Output float64 }

// Options are the operator's; the zero value limits nothing by itself.
type Options struct {
	// Call limits one generate call.
	Call Limits
	// Key limits a key over a window.
	Key    Limits
	Window time.Duration // 0 means [DefaultWindow]
	// KeyOf says whose budget a call uses, whatever its config says; nil leaves it
	// to the config.
	KeyOf func(ctx context.Context) string
	// Prices are by the full name of the model; DefaultPrice is for others.
	Prices       map[string]Price
	DefaultPrice Price
}

// New makes the factory, with nothing used.
func New(o Options) (middleware.Factory, error) {
	if o.Window < 0 || o.Call.negative() || o.Key.negative() {
		return nil, status.Publicf(status.InvalidArgument, "middleware %q: limits must not be negative", Name)
	}
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	o.Prices = maps.Clone(o.Prices)
	w := &windows{length: o.Window, byKey: map[string]*window{}}
	return middleware.Define(middleware.Desc{Name: Name, Description: "Ends generate calls that use more tokens or money than they may."},
		func(ctx context.Context, c Config) (*middleware.Hooks, error) {
			b := &budget{
				options: &o, windows: w, key: c.Key,
				call:  o.Call.narrowed(c.MaxTokens, c.MaxCost),
				keyed: o.Key.narrowed(c.MaxKeyTokens, c.MaxKeyCost),
			}
			if o.KeyOf != nil {
				b.key = o.KeyOf(ctx)
			}
			return &middleware.Hooks{Model: b.ask}, nil
		})
}

// Plugin registers the middleware.
func Plugin(o Options) registry.Plugin {
	return middleware.Plugin(Name, func() (middleware.Factory, error) { return New(o) })
}

func (l Limits) negative() bool { return l.MaxTokens < 0 || l.MaxCost < 0 }

func (l Limits) narrowed(tokens, cost float64) Limits {
	return Limits{MaxTokens: narrower(l.MaxTokens, tokens), MaxCost: narrower(l.MaxCost, cost)}
}

func narrower(a, b float64) float64 {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// amount is a number of tokens and a cost.
type amount struct{ tokens, cost float64 }

func (a *amount) add(b amount) { a.tokens, a.cost = a.tokens+b.tokens, a.cost+b.cost }

// budget is the middleware in one generate call.
type budget struct {
	options     *Options
	windows     *windows
	key         string
	call, keyed Limits

	mu   sync.Mutex // guards used
	used amount
}

func (b *budget) ask(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	resp, err := next(ctx, call)
	if err != nil || resp == nil {
		return resp, err
	}
	spent := b.amount(call, resp)
	b.mu.Lock()
	b.used.add(spent)
	b.mu.Unlock()
	if b.keyed != (Limits{}) {
		b.windows.add(b.key, spent)
	}
	return resp, nil
}

func (b *budget) check() error {
	b.mu.Lock()
	used := b.used
	b.mu.Unlock()
	if err := b.call.check(used, "this generate call", 0); err != nil {
		return err
	}
	if b.keyed == (Limits{}) {
		return nil
	}
	used, left := b.windows.used(b.key)
	return b.keyed.check(used, fmt.Sprintf("key %q", b.key), left)
}

func (l Limits) check(used amount, who string, left time.Duration) error {
	what, spent, limit := "", 0.0, 0.0
	switch {
	case l.MaxTokens > 0 && used.tokens >= l.MaxTokens:
		what, spent, limit = "tokens", used.tokens, l.MaxTokens
	case l.MaxCost > 0 && used.cost >= l.MaxCost:
		what, spent, limit = "cost", used.cost, l.MaxCost
	default:
		return nil
	}
	return status.Publicf(status.ResourceExhausted, "the budget of %s is used up: %s %s of %s", who, what, number(spent), number(limit)).
		WithRetryAfter(left).WithCause(middleware.ErrFinal).
		WithDetails(map[string]any{"budget": what, "used": spent, "limit": limit})
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// amount reads the usage of an answer.
func (b *budget) amount(call *middleware.ModelCall, resp *model.Response) amount {
	u := resp.Usage
	if u == nil {
		u = &model.Usage{}
	}
	if u.Custom["cacheHits"] > 0 {
		return amount{}
	}
	in, out := value(u.InputTokens), value(u.OutputTokens)+value(u.ThoughtsTokens)
	if total := value(u.TotalTokens); total > in+out {
		out = total - in
	}
	if in+out == 0 {
		counted := middleware.Usage(call.Request, &model.Response{Message: resp.Message})
		in, out = value(counted.InputCharacters)/4, value(counted.OutputCharacters)/4
	}
	price := b.options.DefaultPrice
	if call.Model != nil {
		if p, known := b.options.Prices[call.Model.Desc().Name]; known {
			price = p
		}
	}
	return amount{tokens: in + out, cost: (in*price.Input + out*price.Output) / 1e6}
}

// value is a count that a provider told; nonsense counts nothing.
func value(n int) float64 { return float64(max(n, 0)) }
