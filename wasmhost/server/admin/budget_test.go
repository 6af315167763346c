package admin_test

import (
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

// at is a clock that a test sets.
type at struct{ now atomic.Pointer[time.Time] }

func (c *at) set(text string) {
	now, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	c.now.Store(&now)
}

func (c *at) read() time.Time { return *c.now.Load() }

func budgeted(t *testing.T, store admin.Store, budget string) (*world, *at) {
	t.Helper()
	w := open(t, admin.Config{Store: store}, wasmhost.Config{})
	c := &at{}
	c.set("2030-01-31T12:00:00Z")
	w.Clock(c.read)
	if budget != "" {
		w.create("acme", settings(t, `{"budget":`+budget+`}`))
	}
	return w, c
}

func using(tokens int64) allowance.Use {
	return allowance.Use{Input: tokens, Total: tokens, Reported: tokens > 0}
}

func (w *world) spend(model string, tokens int64) error {
	settle, err := w.Payer("acme").Reserve(w.t.Context(), model)
	if err == nil {
		settle(using(tokens))
		settle(using(tokens)) // once more is no harm
	}
	return err
}

// What is paid for is the model that the provider is asked for, and the one that was named has to be
// among those that may be called as well: some providers do not heed the version.
func TestAModelIsNotCalledByAnothersVersion(t *testing.T) {
	w, _ := budgeted(t, admin.NewMemory(), `{"models":["test/small","test/new-*"]}`)
	u, err := usage.Open(usage.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, u.Close()) })
	for _, p := range []allowance.Payer{w.Payer("acme"), u.Payer("acme", "1", "", w.Payer("acme"))} {
		ctx := allowance.WithPayer(t.Context(), p)
		for _, c := range []struct {
			name, asked string
			may         bool
		}{{"test/small", "test/small", true}, {"test/small", "test/new-1", true}, {"test/small", "test/large", false}, {"test/large", "test/small", false}, {"test/large", "test/large", false}} {
			settle, err := allowance.Reserve(ctx, c.name, c.asked)
			if !c.may {
				require.ErrorIs(t, err, status.ErrPermissionDenied, c)
				continue
			}
			require.NoError(t, err, c)
			settle(using(1))
		}
	}
	require.NoError(t, w.Payer("nobody").(allowance.Chooser).May(t.Context(), "x"))
}

// A budget of 1,000 tokens is passed by no more than one call, with 64 callers at once.
func TestABudgetIsPassedByOneCallAtMost(t *testing.T) {
	for _, size := range []int64{1, 90, 999, 5000} {
		w, _ := budgeted(t, admin.NewMemory(), `{"tokensPerDay":1000}`)
		var wg sync.WaitGroup
		var used, calls atomic.Int64
		settles := make(chan func(allowance.Use), 64)
		for range 64 { // all of them at once
			wg.Go(func() {
				if settle, err := w.Payer("acme").Reserve(t.Context(), "test/m"); err == nil {
					settles <- settle
				}
			})
		}
		wg.Wait()
		close(settles)
		for settle := range settles {
			used.Add(size)
			settle(using(size))
		}
		assert.Less(t, used.Load(), 1000+size, "of calls of %d tokens that were under way together", size)
		for range 64 {
			wg.Go(func() {
				for range 50 {
					settle, err := w.Payer("acme").Reserve(t.Context(), "test/m")
					if err != nil {
						assert.ErrorIs(t, err, status.ErrResourceExhausted)
						continue
					}
					calls.Add(1)
					used.Add(size)
					settle(using(size))
				}
			})
		}
		wg.Wait()
		assert.Positive(t, calls.Load()+used.Load())
		assert.Less(t, used.Load(), 1000+size, "with calls of %d tokens", size)
		spent, err := w.Spent("acme")
		require.NoError(t, err)
		assert.Equal(t, used.Load(), spent.Day.Tokens)
		assert.Equal(t, used.Load(), spent.Month.Tokens)
		assert.Zero(t, spent.Day.Reserved)
	}
}

// While a budget has room calls run at the same time; near its end one waits for the other.
func TestRoomIsKeptForCallsUnderWay(t *testing.T) {
	w, _ := budgeted(t, admin.NewMemory(), `{"tokensPerDay":10000}`)
	require.NoError(t, w.spend("test/m", 3000))
	first, err := w.Payer("acme").Reserve(t.Context(), "test/m")
	require.NoError(t, err)
	second, err := w.Payer("acme").Reserve(t.Context(), "test/m")
	require.NoError(t, err, "3,000 are used, and 3,000 reserved for each")
	_, err = w.Payer("acme").Reserve(t.Context(), "test/m")
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Equal(t, time.Second, status.Convert(err).RetryAfter)
	assert.Contains(t, err.Error(), "reserved for calls under way")
	first(using(100))
	third, err := w.Payer("acme").Reserve(t.Context(), "test/m")
	require.NoError(t, err)
	second(using(0))
	third(using(0))
	spent, err := w.Spent("acme")
	require.NoError(t, err)
	assert.EqualValues(t, 3100, spent.Day.Tokens)
	assert.Zero(t, spent.Day.Reserved)
}

func TestARefusalSaysWhichBudgetAndWhenItIsFree(t *testing.T) {
	w, clock := budgeted(t, admin.NewMemory(), `{"tokensPerDay":1000,"tokensPerMonth":1500,"modelCallsPerMinute":60,"models":["test/*","openai/gpt-5"]}`)
	err := w.spend("other/m", 1)
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	assert.Contains(t, err.Error(), `"other/m"`)
	require.ErrorIs(t, w.spend("openai/gpt-5-pro", 1), status.ErrPermissionDenied)
	require.NoError(t, w.spend("openai/gpt-5", 1))
	require.NoError(t, w.spend("test/m", 1100))
	err = w.spend("test/m", 1)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Equal(t, 12*time.Hour, status.Convert(err).RetryAfter)
	assert.JSONEq(t, `{"budget":"tokensPerDay","freeAt":"2030-02-01T00:00:00Z"}`, string(status.ToWire(err, false).Details))

	clock.set("2030-01-31T23:59:59Z")
	require.ErrorIs(t, w.spend("test/m", 1), status.ErrResourceExhausted)
	clock.set("2030-02-01T00:00:00Z")
	require.NoError(t, w.spend("test/m", 900), "another day, and another month")
	clock.set("2030-02-02T00:00:00Z")
	require.NoError(t, w.spend("test/m", 700))
	err = w.spend("test/m", 1)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Contains(t, string(status.ToWire(err, false).Details), `"tokensPerMonth"`)
	assert.Equal(t, 27*24*time.Hour, status.Convert(err).RetryAfter)
	spent, err := w.Spent("acme")
	require.NoError(t, err)
	assert.Equal(t, "2030-03-01T00:00:00Z", spent.Month.ResetsAt.Format(time.RFC3339))

	// A budget that is raised holds at once, and one that is taken away.
	_, err = w.Change(t.Context(), "acme", "", func(s admin.Settings) (admin.Settings, error) {
		return s.Merge([]byte(`{"budget":{"tokensPerMonth":2000}}`))
	})
	require.NoError(t, err)
	require.NoError(t, w.spend("test/m", 1))
}

// Days and months are those of UTC. A refusal says when the budget is free, and then it is, and not a second before.
func TestBudgetsBeginAnewOnTime(t *testing.T) {
	for name, c := range map[string]struct {
		budget string
		clock  []string // of the calls before; the last is refused
		free   string
	}{
		"midnight":                        {`{"tokensPerDay":1000}`, []string{"2030-05-04T23:59:59.999Z"}, "2030-05-05T00:00:00Z"},
		"the whole day":                   {`{"tokensPerDay":1000}`, []string{"2030-05-04T00:00:00Z"}, "2030-05-05T00:00:00Z"},
		"another zone":                    {`{"tokensPerDay":1000}`, []string{"2030-05-05T01:30:00+02:00"}, "2030-05-05T00:00:00Z"},
		"a zone whose day is over":        {`{"tokensPerDay":1000}`, []string{"2030-05-04T20:00:00-08:00"}, "2030-05-06T00:00:00Z"},
		"the end of a month":              {`{"tokensPerDay":1000}`, []string{"2030-04-30T12:00:00Z"}, "2030-05-01T00:00:00Z"},
		"the end of a year":               {`{"tokensPerDay":1000,"tokensPerMonth":1000}`, []string{"2029-12-31T23:00:00Z"}, "2030-01-01T00:00:00Z"},
		"the end of February":             {`{"tokensPerDay":1000}`, []string{"2030-02-28T12:00:00Z"}, "2030-03-01T00:00:00Z"},
		"a leap year's end of February":   {`{"tokensPerDay":1000}`, []string{"2028-02-28T12:00:00Z"}, "2028-02-29T00:00:00Z"},
		"a leap day":                      {`{"tokensPerDay":1000}`, []string{"2028-02-29T12:00:00Z"}, "2028-03-01T00:00:00Z"},
		"a month":                         {`{"tokensPerMonth":1000}`, []string{"2030-05-04T12:00:00Z"}, "2030-06-01T00:00:00Z"},
		"a month from its last day":       {`{"tokensPerMonth":1000}`, []string{"2030-01-31T12:00:00Z"}, "2030-02-01T00:00:00Z"},
		"a leap year's February":          {`{"tokensPerMonth":1000}`, []string{"2028-02-29T12:00:00Z"}, "2028-03-01T00:00:00Z"},
		"a December":                      {`{"tokensPerMonth":1000}`, []string{"2030-12-01T00:00:00Z"}, "2031-01-01T00:00:00Z"},
		"a clock that stepped back":       {`{"tokensPerDay":1000}`, []string{"2030-05-05T00:00:01Z", "2030-05-04T23:59:00Z"}, "2030-05-06T00:00:00Z"},
		"back over the end of a month":    {`{"tokensPerMonth":1000}`, []string{"2030-05-01T00:00:01Z", "2030-04-30T23:59:00Z"}, "2030-06-01T00:00:00Z"},
		"back by some days":               {`{"tokensPerDay":1000}`, []string{"2030-05-09T12:00:00Z", "2030-05-04T12:00:00Z"}, "2030-05-05T00:00:00Z"},
		"back by some days and a month":   {`{"tokensPerMonth":1000}`, []string{"2030-05-09T12:00:00Z", "2030-04-30T12:00:00Z"}, "2030-06-01T00:00:00Z"},
		"back by months":                  {`{"tokensPerMonth":1000}`, []string{"2030-05-09T12:00:00Z", "2030-02-03T12:00:00Z"}, "2030-03-01T00:00:00Z"},
		"days were skipped":               {`{"tokensPerDay":1000}`, []string{"2030-05-04T12:00:00Z", "2030-05-04T13:00:00Z"}, "2030-05-05T00:00:00Z"},
		"money, at midnight":              {`{"moneyPerDay":"0.001"}`, []string{"2028-02-29T23:59:59.5Z"}, "2028-03-01T00:00:00Z"},
		"money, at the end of a month":    {`{"moneyPerMonth":"0.001"}`, []string{"2028-02-01T00:00:00Z"}, "2028-03-01T00:00:00Z"},
		"money, on a clock stepping back": {`{"moneyPerMonth":"0.001"}`, []string{"2030-05-09T12:00:00Z", "2030-04-30T12:00:00Z"}, "2030-06-01T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			w, clock := priced(t, admin.Config{}, c.budget)
			clock.set(c.clock[0])
			require.NoError(t, w.spend("test/m", 1000))
			for _, when := range c.clock[1:] {
				clock.set(when)
				require.ErrorIs(t, w.spend("test/m", 1), status.ErrResourceExhausted)
			}
			free, err := time.Parse(time.RFC3339, c.free)
			require.NoError(t, err)
			err = w.spend("test/m", 1)
			require.ErrorIs(t, err, status.ErrResourceExhausted)
			assert.Contains(t, string(status.ToWire(err, false).Details), `"freeAt":"`+c.free+`"`)
			assert.Equal(t, max(time.Second, free.Sub(clock.read())), status.Convert(err).RetryAfter)
			spent, err := w.Spent("acme")
			require.NoError(t, err)
			assert.Contains(t, []time.Time{spent.Day.ResetsAt, spent.Month.ResetsAt}, free)
			clock.set(free.Add(-time.Millisecond).Format(time.RFC3339Nano))
			require.ErrorIs(t, w.spend("test/m", 1), status.ErrResourceExhausted, "a moment before")
			clock.set(c.free)
			require.NoError(t, w.spend("test/m", 1))
		})
	}
}

// What a call takes that goes on over midnight is of the day in which it ends.
func TestACallOverMidnightIsOfTheNextDay(t *testing.T) {
	w, clock := budgeted(t, admin.NewMemory(), `{"tokensPerDay":1000}`)
	clock.set("2028-02-29T23:59:59Z")
	settle, err := w.Payer("acme").Reserve(t.Context(), "test/m")
	require.NoError(t, err)
	clock.set("2028-03-01T00:00:01Z")
	settle(using(1000))
	err = w.spend("test/m", 1)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Equal(t, 24*time.Hour-time.Second, status.Convert(err).RetryAfter)
	spent, err := w.Spent("acme")
	require.NoError(t, err)
	assert.Zero(t, spent.Day.Reserved)
	assert.EqualValues(t, 1000, spent.Month.Tokens)
}

// A minute's calls are counted on, whichever way the clock steps.
func TestAMinutesCallsOnAClockThatSteps(t *testing.T) {
	w, clock := budgeted(t, admin.NewMemory(), `{"modelCallsPerMinute":2}`)
	clock.set("2030-03-31T23:59:59Z")
	require.NoError(t, w.spend("test/m", 1))
	require.NoError(t, w.spend("test/m", 1))
	clock.set("2030-03-31T22:59:59Z") // an hour back
	err := w.spend("test/m", 1)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Equal(t, 30*time.Second, status.Convert(err).RetryAfter)
	clock.set("2030-03-31T23:00:29Z")
	require.NoError(t, w.spend("test/m", 1), "it is free when it was said to be")
	require.ErrorIs(t, w.spend("test/m", 1), status.ErrResourceExhausted)
}

func TestModelCallsOfAMinuteAreBounded(t *testing.T) {
	w, clock := budgeted(t, admin.NewMemory(), `{"modelCallsPerMinute":6}`)
	for range 6 {
		require.NoError(t, w.spend("test/m", 1))
	}
	err := w.spend("test/m", 1)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Equal(t, 10*time.Second, status.Convert(err).RetryAfter)
	assert.Contains(t, string(status.ToWire(err, false).Details), `"modelCallsPerMinute"`)
	clock.set("2030-01-31T12:00:10Z")
	require.NoError(t, w.spend("test/m", 1))
	require.ErrorIs(t, w.spend("test/m", 1), status.ErrResourceExhausted)
	clock.set("2030-01-31T13:00:00Z")
	for range 6 {
		require.NoError(t, w.spend("test/m", 1))
	}
	require.ErrorIs(t, w.spend("test/m", 1), status.ErrResourceExhausted, "an hour is no reserve")
}

// The spent tokens are there after a restart, and go with the tenant.
func TestWhatWasSpentOutlivesTheServerAndNotTheTenant(t *testing.T) {
	store := admin.NewMemory()
	w, _ := budgeted(t, store, `{"tokensPerDay":1000}`)
	require.NoError(t, w.spend("test/m", 600))
	w.WriteSpent()
	require.NoError(t, w.spend("test/m", 300))
	w.close() // writes the rest
	w, _ = budgeted(t, store, "")
	spent, err := w.Spent("acme")
	require.NoError(t, err)
	assert.EqualValues(t, 900, spent.Day.Tokens)
	require.NoError(t, w.spend("test/m", 100))
	require.ErrorIs(t, w.spend("test/m", 1), status.ErrResourceExhausted)
	o, err := w.Delete(t.Context(), "acme", "")
	require.NoError(t, err)
	w.gone(o)
	w.create("acme", settings(t, `{"budget":{"tokensPerDay":1000}}`))
	spent, err = w.Spent("acme")
	require.NoError(t, err)
	assert.Zero(t, spent.Day.Tokens)
	require.NoError(t, w.spend("test/m", 1))
	docs, err := store.List(t.Context(), "spent")
	require.NoError(t, err)
	assert.Empty(t, docs, "nothing is left of the old one")
	w.WriteSpent()
	w.WriteSpent()
	_, err = w.Spent("none")
	require.ErrorIs(t, err, status.ErrNotFound)
}

func TestBudgetsAreStrict(t *testing.T) {
	for _, text := range []string{
		`{"tokensPerDay":-1}`, `{"tokensPerDay":"1"}`, `{"tokensPerHour":1}`, `{"modelCallsPerMinute":2000000000}`, `{"models":["a*b"]}`, `{"models":[""]}`, `{"models":"x"}`,
	} {
		_, err := admin.ParseSettings([]byte(`{"budget":` + text + `}`))
		require.ErrorIs(t, err, status.ErrInvalidArgument, text)
	}
}
