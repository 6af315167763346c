package usage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, c usage.Config) *usage.Book {
	t.Helper()
	b, err := usage.Open(c)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return b
}

func prices(t *testing.T) *usage.Prices {
	t.Helper()
	p, err := usage.ParsePrices([]byte(`{"currency":"USD","models":{"test/*":{"input":1,"output":2}}}`))
	require.NoError(t, err)
	return p
}

func at(text string) time.Time {
	now, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return now
}

func report(t *testing.T, b *usage.Book, by string, q usage.Query) usage.Report {
	t.Helper()
	var err error
	q.By, err = usage.ParseBy(by)
	require.NoError(t, err)
	r, err := b.Report(t.Context(), q)
	require.NoError(t, err)
	return r
}

// killed copies a book's directory as a process that is killed leaves it.
func killed(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

func TestCallsAreSummedUpByWhatIsAskedFor(t *testing.T) {
	b := open(t, usage.Config{Prices: prices(t)})
	day := at("2030-01-31T12:00:00Z")
	b.Clock(func() time.Time { return day })
	b.Record(tenant.Event{Time: day, Tenant: "acme", TenantID: "1", Module: "calc", Tool: "calc/add", Fuel: 10, WallNS: 5, MemoryBytes: 100, EgressBytes: 7, Caller: "key:a"})
	b.Record(tenant.Event{Time: day, Tenant: "acme", TenantID: "1", Module: "calc", Tool: "calc/add", Fuel: 20, MemoryBytes: 50, Code: status.DeadlineExceeded})
	b.Record(tenant.Event{Time: day, Tenant: "acme", TenantID: "1", Module: "guard", Tool: "guard/redact", Kind: "middleware", Fuel: 1})
	b.Record(tenant.Event{Time: day, Tenant: "globex", TenantID: "2", Module: "calc", Tool: "calc/add", Fuel: 40})
	b.Count(usage.Event{Tenant: "acme", TenantID: "1", Kind: usage.Flow, Name: "menu"})
	for model, use := range map[string]allowance.Use{
		"test/m":  {Input: 100, Output: 50, Total: 150, Reported: true},
		"other/m": {Input: 1, Output: 1, Total: 2, Reported: true},
	} {
		settle, err := b.Payer("acme", "1", "key:a", nil).Reserve(t.Context(), model)
		require.NoError(t, err)
		settle(use)
		settle(use) // counts once
	}
	r := report(t, b, "tenant,tool", usage.Query{})
	require.Len(t, r.Rows, 2)
	assert.Equal(t, "acme", r.Rows[0].Tenant)
	assert.Equal(t, usage.Sums{Calls: 2, Failures: 1, Fuel: 30, WallNS: 5, PeakMemoryBytes: 100, EgressBytes: 7}, r.Rows[0].Sums)
	assert.EqualValues(t, 40, r.Rows[1].Fuel)
	assert.EqualValues(t, 3, r.Total.Calls, "of tools")

	r = report(t, b, "model", usage.Query{Tenant: "acme"})
	require.Len(t, r.Rows, 2)
	assert.Equal(t, "other/m", r.Rows[0].Model)
	assert.EqualValues(t, 1, r.Rows[0].Unpriced, "its price is not known, and not zero")
	assert.Empty(t, r.Rows[0].Money)
	assert.Equal(t, map[string]usage.Money{"USD": 200}, r.Rows[1].Money)
	assert.EqualValues(t, 150, r.Rows[1].Tokens)

	r = report(t, b, "module", usage.Query{Tenant: "acme"})
	require.Len(t, r.Rows, 2)
	assert.Equal(t, "guard", r.Rows[1].Module)
	assert.Len(t, report(t, b, "kind", usage.Query{}).Rows, 4)
	assert.Len(t, report(t, b, "flow", usage.Query{}).Rows, 1)
	r = report(t, b, "", usage.Query{Tenant: "acme", TenantID: "0"})
	assert.Zero(t, r.Total.Calls, "an earlier tenant of the name")
	assert.EqualValues(t, 7, report(t, b, "", usage.Query{}).Total.Calls)
	r = report(t, b, "day", usage.Query{Since: day.AddDate(0, 0, -6), Until: day})
	require.Len(t, r.Rows, 1)
	assert.Equal(t, "2030-01-31", r.Rows[0].Day)
	_, err := b.Report(t.Context(), usage.Query{Since: day, Until: day.AddDate(0, 0, -1)})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = b.Report(t.Context(), usage.Query{Since: day.AddDate(-2, 0, 0), Until: day})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = b.Report(ended, usage.Query{})
	require.ErrorIs(t, err, status.ErrCancelled)
}

func TestSumsOutliveAProcessThatIsKilled(t *testing.T) {
	dir := t.TempDir()
	b := open(t, usage.Config{Dir: dir, Prices: prices(t)})
	count := func(b *usage.Book, calls int) {
		for range calls {
			b.Record(tenant.Event{Time: time.Now(), Tenant: "acme", Tool: "calc/add", Fuel: 3})
		}
	}
	count(b, 5)
	require.NoError(t, b.Keep())
	count(b, 5)
	require.NoError(t, b.Keep())
	count(b, 1) // not written when it is killed
	for range 3 {
		dir = killed(t, dir)
		b = open(t, usage.Config{Dir: dir})
		assert.EqualValues(t, 10, report(t, b, "", usage.Query{}).Total.Calls)
	}
	count(b, 2)
	assert.EqualValues(t, 36, report(t, b, "tool", usage.Query{}).Rows[0].Fuel)
	require.NoError(t, b.Close())
	assert.EqualValues(t, 12, report(t, open(t, usage.Config{Dir: killed(t, dir)}), "", usage.Query{}).Total.Calls)
	began := b.Began()
	assert.Equal(t, began, open(t, usage.Config{Dir: killed(t, dir)}).Began())
}

func TestDamagedLinesArePassedOverAndReported(t *testing.T) {
	dir := t.TempDir()
	b := open(t, usage.Config{Dir: dir})
	for _, tool := range []string{"a", "b", "c"} {
		b.Record(tenant.Event{Time: time.Now(), Tenant: "acme", Tool: tool})
	}
	require.NoError(t, b.Close())
	files, err := filepath.Glob(filepath.Join(dir, "day-*.log"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	raw, err := os.ReadFile(files[0])
	require.NoError(t, err)
	lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	require.Len(t, lines, 3)
	for name, damage := range map[string]func([]byte) []byte{
		"a bit":          func(line []byte) []byte { line[20] ^= 1; return line },
		"a line cut off": func(line []byte) []byte { return line[:len(line)/2] },
		"a negative sum": func([]byte) []byte {
			return bytes.TrimSpace(usage.AppendLine(nil, []byte(`{"tenant":"acme","kind":"tool","name":"b","calls":-5}`)))
		},
		"another's text":  func([]byte) []byte { return []byte("hello") },
		"JSON of nothing": func([]byte) []byte { return bytes.TrimSpace(usage.AppendLine(nil, []byte(`[]`))) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, dir)
			damaged := bytes.Join([][]byte{lines[0], damage(bytes.Clone(lines[1])), lines[2], nil}, []byte("\n"))
			require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(files[0])), damaged, 0o600))
			var log bytes.Buffer
			b := open(t, usage.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			r := report(t, b, "tool", usage.Query{})
			assert.EqualValues(t, 2, r.Total.Calls)
			assert.Equal(t, 1, r.Damaged)
			assert.Contains(t, log.String(), "damaged")
			_, whole, err := b.ModelCalls(t.Context(), time.Now(), time.Now())
			require.NoError(t, err)
			assert.False(t, whole)
			b.Record(tenant.Event{Time: time.Now(), Tenant: "acme", Tool: "d"})
			require.NoError(t, b.Close())
			r = report(t, open(t, usage.Config{Dir: killed(t, dir)}), "tool", usage.Query{})
			assert.EqualValues(t, 3, r.Total.Calls, "it goes on after the damage")
			assert.Equal(t, 1, r.Damaged)
		})
	}
}

// A file of sums that is cut off exactly between two lines, or is gone, looks whole, and is told all the same: by the log, and by
// each report, also when it has grown again.
func TestAFileThatIsCutOffBetweenTwoLinesIsTold(t *testing.T) {
	dir := t.TempDir()
	b := open(t, usage.Config{Dir: dir})
	for _, tool := range []string{"a", "b", "c"} {
		b.Record(tenant.Event{Time: time.Now(), Tenant: "acme", Tool: tool})
	}
	require.NoError(t, b.Close())
	files, err := filepath.Glob(filepath.Join(dir, "day-*.log"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	raw, err := os.ReadFile(files[0])
	require.NoError(t, err)
	assert.Zero(t, report(t, open(t, usage.Config{Dir: killed(t, dir)}), "tool", usage.Query{}).Damaged, "one that is whole is not")
	for name, keep := range map[string]int{"cut off": bytes.LastIndexByte(raw[:len(raw)-1], '\n') + 1, "gone": -1} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, dir)
			path := filepath.Join(dir, filepath.Base(files[0]))
			require.NoError(t, os.Remove(path))
			if keep >= 0 {
				require.NoError(t, os.WriteFile(path, raw[:keep], 0o600))
			}
			for range 3 {
				var log bytes.Buffer
				b := open(t, usage.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				assert.Contains(t, log.String(), "level=ERROR")
				assert.Equal(t, 1, report(t, b, "tool", usage.Query{}).Damaged)
				_, whole, err := b.ModelCalls(t.Context(), time.Now(), time.Now())
				require.NoError(t, err)
				assert.False(t, whole)
				b.Record(tenant.Event{Time: time.Now(), Tenant: "acme", Tool: "d"})
				require.NoError(t, b.Close())
			}
		})
	}
}

// A day whose file is empty or cut off is told, by the log at the start and by each report, and is not taken for
// one without calls. So is the loss of the time since which the accounts are complete.
func TestADayThatIsCutOffIsNotTakenForOneWithoutCalls(t *testing.T) {
	dir := t.TempDir()
	b := open(t, usage.Config{Dir: dir})
	b.Record(tenant.Event{Time: time.Now(), Tenant: "acme", Tool: "a"})
	require.NoError(t, b.Close())
	files, err := filepath.Glob(filepath.Join(dir, "day-*.log"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	raw, err := os.ReadFile(files[0])
	require.NoError(t, err)
	yesterday := time.Now().Add(-24 * time.Hour)
	for name, test := range map[string]struct {
		over    bool
		content []byte
	}{
		"today, empty":       {false, nil},
		"today, cut off":     {false, raw[:len(raw)/2]},
		"yesterday, empty":   {true, nil},
		"yesterday, cut off": {true, raw[:len(raw)/2]},
	} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, dir)
			require.NoError(t, os.Remove(filepath.Join(dir, filepath.Base(files[0]))))
			require.NoError(t, os.Remove(filepath.Join(dir, "size-"+time.Now().UTC().Format(time.DateOnly)))) // of a version before it
			day := time.Now()
			if test.over {
				day = yesterday
			}
			require.NoError(t, os.WriteFile(filepath.Join(dir, "day-"+day.UTC().Format(time.DateOnly)+".log"), test.content, 0o600))
			for range 2 {
				var log bytes.Buffer
				b := open(t, usage.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				if len(test.content) == 0 || !test.over {
					assert.Contains(t, log.String(), "level=ERROR")
				}
				r := report(t, b, "tool", usage.Query{Since: yesterday})
				assert.Equal(t, 1, r.Damaged)
				_, whole, err := b.ModelCalls(t.Context(), yesterday, time.Now())
				require.NoError(t, err)
				assert.False(t, whole)
				b.Record(tenant.Event{Time: time.Now(), Tenant: "acme", Tool: "b"})
				require.NoError(t, b.Close())
				if test.over {
					break // the start of today reads no mark of yesterday
				}
			}
		})
	}
	for name, damage := range map[string]func(string) error{
		"damaged": func(file string) error { return os.WriteFile(file, []byte("x"), 0o600) }, "lost": os.Remove,
	} {
		t.Run("the beginning, "+name, func(t *testing.T) {
			dir := killed(t, dir)
			require.NoError(t, damage(filepath.Join(dir, "began")))
			var log bytes.Buffer
			b := open(t, usage.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			assert.Contains(t, log.String(), "count as complete from now on")
			assert.WithinDuration(t, time.Now(), b.Began(), time.Minute)
		})
	}
}

func TestAFileThatIsNoFileIsNoFailure(t *testing.T) {
	dir := t.TempDir()
	today := time.Now().UTC().Format(time.DateOnly)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "day-"+today+".log"), 0o700))
	b, err := usage.Open(usage.Config{Dir: dir})
	require.NoError(t, err)
	b.Record(tenant.Event{Time: time.Now(), Tenant: "acme", Tool: "a"})
	assert.EqualValues(t, 1, report(t, b, "", usage.Query{}).Total.Calls)
	require.Error(t, b.Keep())
	require.ErrorIs(t, b.Close(), status.ErrDataLoss, "and Close says that the sums were not written")
}

func TestAClockThatGoesBackLosesNothing(t *testing.T) {
	dir := t.TempDir()
	b := open(t, usage.Config{Dir: dir})
	now := at("2030-01-31T23:59:59Z")
	b.Clock(func() time.Time { return now })
	calls := 0
	for _, when := range []string{
		"2030-01-31T23:59:59Z", "2030-02-01T00:00:01Z", "2030-01-31T23:59:58Z", "2030-01-30T00:00:00Z", "2030-02-01T10:00:00Z", // back, by seconds and by days
		"2099-12-31T00:00:00Z", "2030-02-01T11:00:00Z", "1960-01-01T00:00:00Z", "2030-02-01T12:00:00Z", // and clocks that were far wrong
	} {
		now = at(when)
		b.Record(tenant.Event{Time: now, Tenant: "acme", Tool: "a"})
		calls++
		require.NoError(t, b.Keep())
	}
	total := int64(0)
	for _, day := range []string{"2030-01-30T00:00:00Z", "2030-01-31T00:00:00Z", "2030-02-01T00:00:00Z", "2099-12-31T00:00:00Z", "1960-01-01T00:00:00Z"} {
		total += report(t, b, "", usage.Query{Since: at(day), Until: at(day)}).Total.Calls
	}
	assert.EqualValues(t, calls, total)
	assert.EqualValues(t, 5, report(t, b, "", usage.Query{Since: at("2030-02-01T00:00:00Z")}).Total.Calls)
	require.NoError(t, b.Close())
	b = open(t, usage.Config{Dir: killed(t, dir)})
	assert.EqualValues(t, 5, report(t, b, "", usage.Query{Since: at("2030-02-01T00:00:00Z"), Until: at("2030-02-01T00:00:00Z")}).Total.Calls)
}

func TestOldDaysAreForgottenAndLongOnesMadeShort(t *testing.T) {
	dir := t.TempDir()
	b := open(t, usage.Config{Dir: dir, Days: 3})
	now := at("2030-01-01T00:00:00Z")
	b.Clock(func() time.Time { return now })
	for range 6 {
		for range 40 { // each writes the row anew
			b.Record(tenant.Event{Time: now, Tenant: "acme", Tool: "a"})
			require.NoError(t, b.Keep())
		}
		now = now.AddDate(0, 0, 1)
	}
	files, err := filepath.Glob(filepath.Join(dir, "day-*.log"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	over, err := os.ReadFile(files[0])
	require.NoError(t, err)
	rows, damaged := usage.DecodeDay(over)
	assert.Equal(t, 1, rows)
	assert.Zero(t, damaged)
	assert.Equal(t, 1, bytes.Count(over, []byte("\n")), "a day that is over has a line for each row")
	assert.EqualValues(t, 40, report(t, b, "", usage.Query{Since: at("2030-01-05T00:00:00Z"), Until: at("2030-01-05T00:00:00Z")}).Total.Calls)
}

// A tenant that calls names without end has a row for them together, and takes none of another's.
func TestRowsAreBounded(t *testing.T) {
	b := open(t, usage.Config{Dir: t.TempDir()})
	now := time.Now()
	for i := range usage.MaxTenantRows + 500 {
		b.Record(tenant.Event{Time: now, Tenant: "acme", Tool: fmt.Sprintf("m/%d", i), Fuel: 1})
	}
	b.Record(tenant.Event{Time: now, Tenant: "globex", Tool: "m/0", Fuel: 1})
	require.NoError(t, b.Keep())
	r := report(t, b, "tool", usage.Query{Tenant: "acme"})
	assert.EqualValues(t, usage.MaxTenantRows+500, r.Total.Calls)
	require.Len(t, r.Rows, 1000)
	last := r.Rows[len(r.Rows)-1]
	assert.True(t, last.Other, "a report has a bound of its own")
	byName := map[string]int64{}
	for _, row := range r.Rows {
		byName[row.Tool] = row.Calls
	}
	assert.EqualValues(t, 500, byName[usage.Other])
	assert.Len(t, report(t, b, "tool", usage.Query{Tenant: "globex"}).Rows, 1)
}

func TestCallsOfManyCallersAreCountedOnce(t *testing.T) {
	dir := t.TempDir()
	b := open(t, usage.Config{Dir: dir, Prices: prices(t)})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				settle, err := b.Payer("acme", "1", "", nil).Reserve(context.Background(), "test/m")
				assert.NoError(t, err)
				settle(allowance.Use{Input: 1, Total: 1, Reported: true})
			}
		})
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			assert.NoError(t, b.Keep())
		}
	}()
	wg.Wait()
	stop.Store(true)
	<-done
	sums, whole, err := b.ModelCalls(t.Context(), time.Now(), time.Now())
	require.NoError(t, err)
	assert.True(t, whole)
	assert.EqualValues(t, 4000, sums["1"].Tokens)
	assert.Equal(t, usage.Money(4000), sums["1"].Money["USD"], "each call is a millionth, and the sum has no remainder")
}

func TestGroupsAndDaysAreReadStrictly(t *testing.T) {
	for _, text := range []string{"colour", "day,day", "day,", ",", "Day"} {
		_, err := usage.ParseBy(text)
		require.ErrorIs(t, err, status.ErrInvalidArgument, text)
	}
	now := at("2030-03-01T12:00:00Z")
	for text, want := range map[string]string{"": "2030-03-01", "1d": "2030-03-01", "7d": "2030-02-23", "2029-12-31": "2029-12-31"} {
		day, err := usage.ParseDay(text, now)
		require.NoError(t, err)
		assert.Equal(t, want, day.Format(time.DateOnly), text)
	}
	for _, text := range []string{"0d", "401d", "-1d", "d", "7", "7h", "2030-02-30", "99999d", "tomorrow"} {
		_, err := usage.ParseDay(text, now)
		require.ErrorIs(t, err, status.ErrInvalidArgument, text)
	}
}

func TestAnEventIsACloudEvent(t *testing.T) {
	cost, yes, no := usage.Money(1_250_000), true, false
	for name, e := range map[string]usage.Event{
		"a tool": {
			ID: "x-1", Time: at("2030-01-31T12:00:00Z"), Tenant: "acme", TenantID: "1", Kind: usage.Tool, Name: "calc/add", Module: "calc", Revision: 2, Digest: "sha256:ab",
			Caller: "key:4hx", Code: status.DeadlineExceeded, Fuel: 5, QueuedNS: 6, WallNS: 7, PeakMemoryBytes: 8, EgressBytes: 9, InputBytes: 10, OutputBytes: 11,
		},
		"a model": {
			ID: "x-2", Time: at("2030-01-31T12:00:00.5Z"), Tenant: "acme", Kind: usage.Model, Name: "openai/\"x\"\n\u2028é", InputTokens: 1, CachedTokens: 2, OutputTokens: 3, Tokens: 4,
			Capped: true, Estimated: true, Priced: &yes, Cost: &cost, Currency: "USD",
		},
		"refusals": {
			ID: "x-r1", Time: at("2030-01-31T12:01:00Z"), Since: at("2030-01-31T12:00:03.25Z"), Tenant: "acme", TenantID: "1", Kind: usage.Refused, Name: "quota.callsPerMinute",
			Code: status.ResourceExhausted, Count: 17,
		},
		"one without a price": {ID: "x-3", Time: at("2030-01-31T12:00:00Z"), Tenant: "acme", Kind: usage.Model, Name: "m", Priced: &no},
	} {
		raw := usage.AppendEvent(nil, &e)
		var ce map[string]any
		require.NoError(t, json.Unmarshal(raw, &ce), "%s: %s", name, raw)
		for member, want := range map[string]any{"specversion": "1.0", "id": e.ID, "source": "/v1/tenants/acme", "type": "com.github.genkit-wasm.call." + string(e.Kind), "subject": e.Name, "datacontenttype": "application/json"} {
			assert.Equal(t, want, ce[member], "%s: %s", name, member)
		}
		assert.NotContains(t, string(raw), "\n")
		got, err := usage.Decode(raw)
		require.NoError(t, err)
		assert.Equal(t, e, got, name)
		plain, err := json.Marshal(e) // the tags are those of what is written by hand
		require.NoError(t, err)
		data, err := json.Marshal(ce["data"])
		require.NoError(t, err)
		assert.JSONEq(t, string(plain), string(data), name)
	}
	for _, text := range []string{``, `{}`, `{"specversion":"1.0","id":"1","type":"x","data":{}}`, `{"specversion":"0.3","id":"1","type":"com.github.genkit-wasm.call.tool","data":{"kind":"tool"}}`} {
		_, err := usage.Decode([]byte(text))
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
}

func FuzzWhatIsReadBack(f *testing.F) {
	f.Add([]byte(`{"tenant":"acme","kind":"tool","name":"a","calls":1}`))
	f.Add([]byte(`{"damaged":3}`))
	e := usage.Event{ID: "1", Kind: usage.Tool, Tenant: "a", Name: "b"}
	f.Add(usage.AppendEvent(nil, &e))
	f.Add([]byte("00000000 {}\n\n\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		framed := usage.AppendLine([]byte("\n"), raw)
		for _, text := range [][]byte{raw, framed} {
			rows, damaged := usage.DecodeDay(text)
			if rows < 0 || damaged < 0 {
				t.Errorf("%d rows, %d damaged", rows, damaged)
			}
			events, damaged := usage.DecodeSegment(text)
			if len(events)+damaged > bytes.Count(text, []byte("\n"))+1 {
				t.Errorf("%d events and %d damaged lines of %q", len(events), damaged, text)
			}
			for _, e := range events {
				if !json.Valid(e) {
					t.Errorf("%q is handed to sinks", e)
				}
			}
		}
		if e, err := usage.Decode(raw); err == nil {
			again, err := usage.Decode(usage.AppendEvent(nil, &e))
			if err != nil || again.Tenant != e.Tenant && len(e.Tenant) <= 512 {
				t.Errorf("%+v comes back as %+v: %v", e, again, err)
			}
		}
	})
}

type nothing struct{}

func (nothing) Send(context.Context, []json.RawMessage) error { return nil }

func BenchmarkCount(b *testing.B) {
	for name, sinks := range map[string][]usage.Target{"sums": nil, "sums and a sink": {{Name: "x", Sink: nothing{}}}} {
		b.Run(name, func(b *testing.B) {
			book, err := usage.Open(usage.Config{Dir: b.TempDir(), Sinks: sinks})
			require.NoError(b, err)
			e := tenant.Event{
				Tenant: "acme", TenantID: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Module: "textkit", Tool: "textkit/slugify", Digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
				Revision: 3, Caller: "key:4hx3k2j1", Fuel: 12345, WallNS: 1234567, MemoryBytes: 1 << 20, InputBytes: 100, OutputBytes: 100,
			}
			b.ReportAllocs()
			for b.Loop() {
				e.Time = time.Now()
				book.Record(e)
			}
			b.StopTimer()
			require.NoError(b, book.Close())
		})
	}
}
