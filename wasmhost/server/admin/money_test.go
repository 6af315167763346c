package admin_test

import (
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

func dollars(t *testing.T) *usage.Prices {
	t.Helper()
	p, err := usage.ParsePrices([]byte(`{"currency":"USD","models":{"test/*":{"input":1,"output":1}}}`))
	require.NoError(t, err)
	return p
}

func priced(t *testing.T, c admin.Config, budget string) (*world, *at) {
	t.Helper()
	c.Prices = dollars(t)
	w := open(t, c, wasmhost.Config{})
	clock := &at{}
	clock.set("2030-01-31T12:00:00Z")
	w.Clock(clock.read)
	if budget != "" {
		w.create("acme", settings(t, `{"budget":`+budget+`}`))
	}
	return w, clock
}

// 64 callers together pass a budget of money by no more than one call: what is under way.
func TestABudgetOfMoneyIsPassedByOneCallAtMost(t *testing.T) {
	const limit = 1000 // millionths: 0.001 USD
	for _, size := range []int64{1, 150, 999, 5000} {
		w, _ := priced(t, admin.Config{}, `{"moneyPerDay":"0.001"}`)
		var wg sync.WaitGroup
		var spent, calls atomic.Int64
		settles := make(chan func(allowance.Use), 64)
		for range 64 { // all of them under way at once
			wg.Go(func() {
				if settle, err := w.Payer("acme").Reserve(t.Context(), "test/m"); err == nil {
					settles <- settle
				}
			})
		}
		wg.Wait()
		close(settles)
		for settle := range settles {
			spent.Add(size)
			settle(using(size))
		}
		assert.Less(t, spent.Load(), limit+size, "of calls of %d millionths that were under way together", size)
		var begun sync.WaitGroup
		begun.Add(64)
		for range 64 {
			wg.Go(func() {
				begun.Done()
				begun.Wait()
				for range 50 {
					settle, err := w.Payer("acme").Reserve(t.Context(), "test/m")
					if err != nil {
						assert.ErrorIs(t, err, status.ErrResourceExhausted)
						continue
					}
					calls.Add(1)
					spent.Add(size)
					settle(using(size))
				}
			})
		}
		wg.Wait()
		assert.Positive(t, calls.Load()+spent.Load())
		assert.Less(t, spent.Load(), limit+size, "with calls of %d millionths", size)
		s, err := w.Spent("acme")
		require.NoError(t, err)
		require.NotNil(t, s.Money)
		assert.Equal(t, usage.Money(spent.Load()), s.Money.Day.Spent)
		assert.Equal(t, usage.Money(spent.Load()), s.Money.Month.Spent)
		assert.Zero(t, s.Money.Day.Reserved)
		assert.Equal(t, usage.Money(limit), s.Money.Day.Limit)
	}
}

func TestARefusalSaysWhichBudgetOfMoneyAndWhenItIsFree(t *testing.T) {
	w, clock := priced(t, admin.Config{}, `{"moneyPerDay":1,"moneyPerMonth":"1.5"}`)
	require.NoError(t, w.spend("test/m", 1_000_000))
	err := w.spend("test/m", 1)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Contains(t, err.Error(), "1 USD a day")
	assert.Equal(t, 12*time.Hour, status.Convert(err).RetryAfter)
	assert.JSONEq(t, `{"budget":"moneyPerDay","freeAt":"2030-02-01T00:00:00Z"}`, string(status.ToWire(err, false).Details))
	err = w.spend("other/m", 1)
	require.ErrorIs(t, err, status.ErrPermissionDenied, "a model without a price would have no bound")
	assert.Contains(t, err.Error(), "has no price")
	clock.set("2030-02-01T00:00:00Z")
	require.NoError(t, w.spend("test/m", 900_000))
	clock.set("2030-02-02T00:00:00Z")
	require.NoError(t, w.spend("test/m", 700_000))
	err = w.spend("test/m", 1)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Contains(t, string(status.ToWire(err, false).Details), `"moneyPerMonth"`)

	for _, text := range []string{`{"moneyPerDay":-1}`, `{"moneyPerDay":"1e3"}`, `{"moneyPerDay":0.0000001}`, `{"moneyPerDay":true}`, `{"moneyPerHour":1}`} {
		_, err := admin.ParseSettings([]byte(`{"budget":` + text + `}`))
		require.ErrorIs(t, err, status.ErrInvalidArgument, text)
	}
}

// One call that a provider reports as huge is not kept free for all that come after it.
func TestOneHugeCallIsForgotten(t *testing.T) {
	w, _ := budgeted(t, admin.NewMemory(), `{"tokensPerDay":10000000}`)
	require.NoError(t, w.spend("test/m", 1_000_000))
	for range 63 {
		require.NoError(t, w.spend("test/m", 100))
	}
	reserved := func() int64 {
		settle, err := w.Payer("acme").Reserve(t.Context(), "test/m")
		require.NoError(t, err)
		s, err := w.Spent("acme")
		require.NoError(t, err)
		settle(using(100))
		return s.Day.Reserved
	}
	assert.EqualValues(t, 1_000_000, reserved())
	assert.EqualValues(t, 1024, reserved(), "64 calls later")
}

func TestAClockThatGoesBackForgetsNothing(t *testing.T) {
	w, clock := priced(t, admin.Config{}, `{"tokensPerDay":1000,"moneyPerMonth":1}`)
	clock.set("2030-02-01T00:00:05Z")
	require.NoError(t, w.spend("test/m", 1000))
	for _, when := range []string{"2030-01-31T23:59:00Z", "2030-02-01T00:00:06Z", "2030-01-20T00:00:00Z", "2029-01-01T00:00:00Z"} {
		clock.set(when)
		require.ErrorIs(t, w.spend("test/m", 1), status.ErrResourceExhausted, when)
		s, err := w.Spent("acme")
		require.NoError(t, err)
		assert.EqualValues(t, 1000, s.Day.Tokens, when)
		assert.Equal(t, usage.Money(1000), s.Money.Month.Spent, when)
	}
	clock.set("2029-01-02T00:00:00Z") // the day after the one that the wrong clock was set to
	require.NoError(t, w.spend("test/m", 1))
}

// A record of spending that is damaged is made anew from the accounts of the usage. Where these do not
// have it all, the budget counts as used up.
func TestADamagedRecordOfSpendingDoesNotCountFromNothing(t *testing.T) {
	for name, test := range map[string]struct {
		accounts bool // there are accounts
		known    bool // they have everything
	}{"no accounts": {false, false}, "accounts": {true, true}, "accounts that began later": {true, false}} {
		t.Run(name, func(t *testing.T) {
			store := admin.NewMemory()
			c := admin.Config{Store: store, Prices: dollars(t)}
			if test.accounts {
				book, err := usage.Open(usage.Config{Prices: c.Prices})
				require.NoError(t, err)
				t.Cleanup(func() { assert.NoError(t, book.Close()) })
				c.Usage = book
			}
			w := open(t, c, wasmhost.Config{})
			made := w.create("acme", settings(t, `{"budget":{"tokensPerDay":1000,"moneyPerMonth":"0.01"}}`))
			w.create("globex", settings(t, `{"budget":{"tokensPerDay":1000}}`))
			payer := w.Payer("acme")
			if test.accounts {
				payer = c.Usage.Payer("acme", made.ID, "", payer)
			}
			settle, err := payer.Reserve(t.Context(), "test/m")
			require.NoError(t, err)
			settle(allowance.Use{Input: 600, Total: 600, Reported: true})
			w.close()
			stored, err := store.Get(t.Context(), "spent", "acme")
			require.NoError(t, err)
			stored.Value = json.RawMessage(`{"id":"` + made.ID + `","dayTokens":"many"}`)
			_, err = store.Put(t.Context(), stored)
			require.NoError(t, err)
			if test.accounts && !test.known { // the tenant is older than they are
				doc, err := store.Get(t.Context(), "tenant", "acme")
				require.NoError(t, err)
				var tenant map[string]json.RawMessage
				require.NoError(t, json.Unmarshal(doc.Value, &tenant))
				tenant["createdAt"] = json.RawMessage(`"2020-01-01T00:00:00Z"`)
				doc.Value, err = json.Marshal(tenant)
				require.NoError(t, err)
				_, err = store.Put(t.Context(), doc)
				require.NoError(t, err)
			}
			for range 2 { // a second start finds what the first one has stored
				w = open(t, c, wasmhost.Config{})
				_, err := w.Payer("globex").Reserve(t.Context(), "test/m")
				require.NoError(t, err, "another tenant is not concerned")
				s, err := w.Spent("acme")
				require.NoError(t, err)
				if test.known {
					assert.EqualValues(t, 600, s.Day.Tokens)
					assert.Equal(t, usage.Money(600), s.Money.Month.Spent)
				} else {
					err := w.spend("test/m", 1)
					require.ErrorIs(t, err, status.ErrResourceExhausted)
					assert.Contains(t, err.Error(), "is lost")
					assert.Contains(t, string(status.ToWire(err, false).Details), `"tokensPerDay"`)
				}
				w.close()
			}
		})
	}
}

// What a tenant has used is no tenant's any more once it is deleted; the sums by day keep it.
func TestTheTotalsOfADeletedTenantAreNobodys(t *testing.T) {
	book, err := usage.Open(usage.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, book.Close()) })
	w := open(t, admin.Config{Store: admin.NewMemory(), Usage: book}, wasmhost.Config{})
	for _, name := range []string{"acme", "globex"} {
		made := w.create(name, admin.Settings{})
		book.Count(usage.Event{Tenant: name, TenantID: made.ID, Kind: usage.Flow, Name: "menu"})
	}
	o, err := w.Delete(t.Context(), "acme", "")
	require.NoError(t, err)
	w.gone(o)
	calls := map[string]int64{}
	for _, row := range book.Totals() {
		calls[row.Tenant] += row.Calls
	}
	assert.Equal(t, map[string]int64{"": 1, "globex": 1}, calls)
	r, err := book.Report(t.Context(), usage.Query{Tenant: "acme"})
	require.NoError(t, err)
	assert.EqualValues(t, 1, r.Total.Calls)
}
