package admin

import (
	"encoding/json"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// Budget bounds the model calls of a tenant's requests and everything that these cause. A field
// that is 0, and no models, are no bound. Days and months are those of UTC.
type Budget struct {
	TokensPerDay   int64 `json:"tokensPerDay,omitempty"`
	TokensPerMonth int64 `json:"tokensPerMonth,omitempty"`
	// MoneyPerDay and MoneyPerMonth are in the currency of the server's prices. With one of
	// them, models that have no price can't be called.
	MoneyPerDay   usage.Money `json:"moneyPerDay,omitempty"`
	MoneyPerMonth usage.Money `json:"moneyPerMonth,omitempty"`

	ModelCallsPerMinute int64 `json:"modelCallsPerMinute,omitempty"`
	// Models are patterns of the models that may be called: "openai/gpt-5-mini", "openai/*".
	Models []string `json:"models,omitempty"`
}

// Spent is what a tenant has used of its budget.
type Spent struct {
	Day   Period `json:"day"`
	Month Period `json:"month"`
	// Money is absent where the server has no prices.
	Money *SpentMoney `json:"money,omitempty"`
}

// SpentMoney is what a tenant has spent on model calls that have a price.
type SpentMoney struct {
	Currency string      `json:"currency"`
	Day      MoneyPeriod `json:"day"`
	Month    MoneyPeriod `json:"month"`
}

// MoneyPeriod is a day or a month.
type MoneyPeriod struct {
	Spent    usage.Money `json:"spent"`
	Reserved usage.Money `json:"reserved"`        // kept free for calls under way
	Limit    usage.Money `json:"limit,omitempty"` // absent: none
	ResetsAt time.Time   `json:"resetsAt"`
}

// Period is a day or a month.
type Period struct {
	// Tokens are those that models have reported, Reserved those that are kept free for calls
	// under way.
	Tokens   int64     `json:"tokens"`
	Reserved int64     `json:"reserved"`
	Limit    int64     `json:"limit,omitempty"` // absent: none
	ResetsAt time.Time `json:"resetsAt"`
}

const (
	maxTokens         = 1 << 50
	maxCallsPerMinute = 1 << 30
	// minReserve is how many tokens are kept free for a call of a tenant whose calls were
	// smaller so far.
	minReserve = 1024
	// writeSpent is how often what was spent is written.
	writeSpent = 10 * time.Second
	// recentCalls is of how many calls the largest is kept free for the next one.
	recentCalls = 64
	// wrongClock is how far a clock may go back and the day that was begun still count; one
	// that goes back further was wrong before.
	wrongClock = 36 * time.Hour
	spentKind  = "spent"
)

func (b *Budget) check() error {
	for _, f := range []struct {
		name     string
		n, bound int64
	}{{"tokensPerDay", b.TokensPerDay, maxTokens}, {"tokensPerMonth", b.TokensPerMonth, maxTokens}, {"moneyPerDay", int64(b.MoneyPerDay), int64(usage.MaxMoney)}, {"moneyPerMonth", int64(b.MoneyPerMonth), int64(usage.MaxMoney)}, {"modelCallsPerMinute", b.ModelCallsPerMinute, maxCallsPerMinute}} {
		if f.n < 0 || f.n > f.bound {
			return status.Publicf(status.InvalidArgument, "tenant: \"budget.%s\" is %d, want 0 (not set) to %d", f.name, f.n, f.bound)
		}
	}
	raw, err := json.Marshal(policy.Policy{Grants: policy.Grants{Generate: b.Models}})
	if err == nil {
		_, err = policy.Parse(raw)
	}
	if err != nil {
		return status.Publicf(status.InvalidArgument, "tenant: \"budget.models\": %s", status.Convert(err).Message)
	}
	return nil
}
