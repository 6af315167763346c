// Package usage keeps accounts of what calls use: an event for each call of a tool, a model or a
// flow, its cost by a table of prices, sums by day and tenant, and sinks that get the events.
//
// It owns the events' form, CloudEvents 1.0 in JSON, money and prices, the files of the sums, and
// the queues in front of the sinks. [File] and [HTTP] are two sinks. Use:
//
//	book, err := usage.Open(usage.Config{Dir: dir, Prices: prices, Sinks: []usage.Target{{Name: "bills", Sink: sink}}})
//	host, err := wasmhost.New(ctx, wasmhost.Config{Usage: book, …})
//	report, err := book.Report(ctx, usage.Query{By: []string{"tool"}, Tenant: "acme"})
//
// No call waits for a file, a sink or another call's event: it counts under a lock, and the rest
// happens in the background. Sums are written every two seconds and events at once: a process that is killed
// forgets at most the sums of its last two seconds, and the events of its last moment.
//
// Experimental: the set of fields and groups grows.
package usage

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// Config configures a book. Its zero value keeps the sums in memory, has no prices and no sinks.
type Config struct {
	// Dir is the directory of the sums and the queues, which one process at a time may use;
	// empty keeps the sums of as many days in memory as there are, and has no queues on disk.
	Dir string
	// Store keeps the sums in the place of files of Dir; nil has them there. The queues stay in Dir, or in
	// memory where that is empty. Its owner closes it, after [Book.Close].
	Store Store
	// Prices are those of models; nil has none.
	Prices *Prices
	// Sinks get each event. Each has a queue of its own.
	Sinks []Target
	// Queues opens the queues of sinks, in the place of those in Dir or in memory: one for events, "queue-NAME", and one
	// for events of what was refused, "refused-NAME". It does not concern those of [Target.InMemory].
	Queues func(name string, maxBytes int64) (Queue, error)
	// Days is how many days are kept: 400.
	Days int
	// Logger gets lines about failures; nil drops them.
	Logger *slog.Logger

	now func() time.Time // of tests; nil is time.Now
}

const (
	defaultDays = 400
	// writeEvery is how often sums are written.
	writeEvery = 2 * time.Second
	beganFile  = "began"
)

// Book keeps the accounts. It is safe for concurrent use. Close it after the host whose calls it
// counts.
type Book struct {
	config Config
	log    *slog.Logger
	files  storedir.FS // of Dir; nil: there is none
	store  Store       // nil: in memory alone
	now    func() time.Time
	began  time.Time
	prefix string // of the events' IDs
	stop   chan struct{}
	work   sync.WaitGroup
	hub    *hub // nil: no sinks

	io     sync.Mutex // held while files are read and written; taken before mu
	failed error      // why the sums could not be written; guarded by io

	mu     sync.Mutex // guards the fields below
	today  int64      // the day that events are counted in
	days   map[int64]*day
	serial uint64
	closed bool
	totals map[totalKey]*Sums // since the book was opened

	refusedMu sync.Mutex       // guards refused; nothing is locked while it is held
	refused   map[string]int64 // by reason, since the book was opened
}

type totalKey struct {
	tenant string
	kind   Kind
}

// maxTotals bounds the tenants and kinds that are totalled apart; those beyond are together under no tenant.
const maxTotals = 1 << 16

var (
	_ tenant.Sink    = (*Book)(nil)
	_ tenant.Refuser = (*Book)(nil)
)

// Open opens the accounts. It fails with FAILED_PRECONDITION when another process has the
// directory. What is damaged there is passed over, counted and logged.
func Open(config Config) (*Book, error) {
	if config.Dir == "" {
		return open(config, nil)
	}
	files, err := storedir.Open(config.Dir, "usage accounts")
	if err != nil {
		return nil, err
	}
	return open(config, files)
}

// open opens the accounts in files, which it closes when it fails; nil keeps them in memory.
func open(config Config, files storedir.FS) (*Book, error) {
	b := &Book{
		config: config, files: files, store: config.Store, log: config.Logger, now: time.Now, prefix: rand.Text() + "-",
		stop: make(chan struct{}), days: map[int64]*day{}, totals: map[totalKey]*Sums{}, refused: map[string]int64{},
	}
	b.config.Days = cmp.Or(config.Days, defaultDays)
	if config.now != nil {
		b.now = config.now
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if files != nil {
		if err := storedir.RemoveTemporary(files, "."); err != nil {
			b.log.Warn("files that an earlier process left behind can't be removed", slog.Any("error", err))
		}
		if b.store == nil {
			b.store = newDirStore(files)
		}
	}
	b.began = b.readBegan()
	b.markLost()
	b.mu.Lock()
	b.dayOf(b.now())
	b.mu.Unlock()
	b.keep()
	if len(config.Sinks) > 0 {
		hub, err := newHub(config.Sinks, config.Queues, b.files, b.log, b.prefix)
		if err != nil {
			return nil, errors.Join(err, b.closeFiles())
		}
		b.hub = hub
	}
	b.work.Go(b.run)
	return b, nil
}

// Began is when the accounts were first opened: of what was before they know nothing.
func (b *Book) Began() time.Time { return b.began }

// Prices are the prices by which the book counts; nil where it has none.
func (b *Book) Prices() *Prices { return b.config.Prices }

func (b *Book) readBegan() time.Time {
	now := b.now().UTC()
	if b.store == nil {
		return now
	}
	raw, err := b.store.Read(beganFile)
	if err == nil {
		at, err := time.Parse(time.RFC3339, string(raw))
		if err == nil {
			return at
		}
	}
	if stored, listErr := b.stored(); !errors.Is(err, status.ErrNotFound) || listErr != nil || len(stored) > 0 {
		b.log.Error("the time at which the usage accounts were first opened is damaged or lost; they count as complete from now on", slog.Any("error", errors.Join(err, listErr)))
	}
	if err := b.store.Replace(beganFile, []byte(now.Format(time.RFC3339))); err != nil {
		b.log.Warn("the beginning of the usage accounts can't be stored", slog.Any("error", err))
	}
	return now
}

// markLost notes in the files of days that are empty that they were not, so that no report takes their days for days
// without calls.
func (b *Book) markLost() {
	dir, ok := b.store.(*dirStore)
	if !ok {
		return // what is stored elsewhere is never empty
	}
	stored, err := b.stored()
	if err != nil {
		b.log.Error("the usage accounts can't be listed", slog.Any("error", err))
		return
	}
	for _, number := range stored {
		if !dir.isEmpty(fileOf(number)) {
			continue
		}
		_, err := rewrite(b.store, number, nil, 1)
		b.log.Error("the file of a day of the usage accounts is empty: what it had is lost, and reports say so", slog.String("day", dateOf(number)), slog.Any("error", err))
	}
}

// Record implements [tenant.Sink]: it counts the call of a module.
func (b *Book) Record(e tenant.Event) {
	b.Count(Event{
		Time: e.Time, Tenant: e.Tenant, TenantID: e.TenantID, Kind: Kind(cmp.Or(e.Kind, string(Tool))), Name: e.Tool,
		Module: e.Module, Revision: e.Revision, Digest: e.Digest, Caller: e.Caller, Code: e.Code,
		Fuel: e.Fuel, QueuedNS: e.QueuedNS, WallNS: e.WallNS, PeakMemoryBytes: e.MemoryBytes, EgressBytes: e.EgressBytes,
		InputBytes: int64(e.InputBytes), OutputBytes: int64(e.OutputBytes),
	})
}

// Count counts a call, and hands its event to the sinks. ID is set here, and Time where it is
// zero.
func (b *Book) Count(e Event) {
	if e.Time.IsZero() {
		e.Time = b.now()
	}
	e.Tenant, e.TenantID, e.Name = cut(e.Tenant), cut(e.TenantID), cut(e.Name)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	d := b.dayOf(e.Time)
	r := d.row(rowKey{e.Tenant, e.TenantID, e.Kind, e.Name})
	r.count(&e)
	d.change(r)
	b.total(&e)
	if b.hub != nil {
		b.serial++
		e.ID = b.prefix + strconv.FormatUint(b.serial, 10)
		b.hub.take(&e)
	}
}

// Refuse implements [tenant.Refuser]: it counts a call that was refused, for an event of its tenant,
// its reason (see [ReasonOf]) and the minute. The sums know nothing of it, and of real calls' events
// none is dropped for it.
func (b *Book) Refuse(tenantName, tenantID string, why error) {
	reason := ReasonOf(why)
	b.countRefusal(reason)
	if b.hub != nil {
		b.hub.refusals.add(refusalKey{cut(tenantName), cut(tenantID), cut(reason), status.Of(why)}, b.now())
	}
}

// total counts a call of this process. mu is held.
func (b *Book) total(e *Event) {
	key := totalKey{e.Tenant, e.Kind}
	s := b.totals[key]
	if s == nil {
		if len(b.totals) >= maxTotals {
			key.tenant = ""
		}
		if s = b.totals[key]; s == nil {
			s = &Sums{}
			b.totals[key] = s
		}
	}
	s.count(e)
}

// Forget ends the totals of a tenant that is gone: what it has used since the book was opened counts
// under no tenant from then on. The sums by day keep it.
func (b *Book) Forget(tenantName string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, s := range b.totals {
		if key.tenant != tenantName || key.tenant == "" {
			continue
		}
		delete(b.totals, key)
		key.tenant = ""
		if b.totals[key] == nil {
			b.totals[key] = &Sums{}
		}
		b.totals[key].Add(s)
	}
}

// dayOf returns the day in which something is counted. A clock that goes back by no more than a
// day changes nothing: the day that had begun goes on. mu is held.
func (b *Book) dayOf(at time.Time) *day {
	number := numberOf(at)
	if number != b.today && (number > b.today || b.today-number > 1) {
		b.today = number
	}
	d := b.days[b.today]
	if d == nil {
		d = newDay(b.today)
		d.loaded = b.store == nil
		b.days[b.today] = d
	}
	return d
}

// Payer returns a payer that counts the model calls which another one lets through; next may be
// nil. caller is as in [Event].
func (b *Book) Payer(tenantName, tenantID, caller string, next allowance.Payer) allowance.Payer {
	return payer{b, tenantName, tenantID, caller, next}
}

type payer struct {
	book                 *Book
	tenant, id, identity string
	next                 allowance.Payer
}

// May implements [allowance.Chooser].
func (p payer) May(ctx context.Context, model string) error {
	if c, ok := p.next.(allowance.Chooser); ok {
		return c.May(ctx, model)
	}
	return nil
}

// Reserve implements [allowance.Payer].
func (p payer) Reserve(ctx context.Context, model string) (func(allowance.Use), error) {
	settle := func(allowance.Use) {}
	if p.next != nil {
		var err error
		if settle, err = p.next.Reserve(ctx, model); err != nil {
			p.book.Refuse(p.tenant, p.id, err)
			tenant.Note(ctx)
			return nil, err
		}
	}
	tenant.Note(ctx) // it makes an event, however it ends
	began := p.book.now()
	var once sync.Once
	return func(use allowance.Use) {
		settle(use)
		once.Do(func() { p.book.countModel(p, model, use, began) })
	}, nil
}

func (b *Book) countModel(p payer, model string, use allowance.Use, began time.Time) {
	now := b.now()
	e := Event{
		Time: now, Tenant: p.tenant, TenantID: p.id, Kind: Model, Name: model, Caller: p.identity, Code: use.Code, WallNS: max(0, now.Sub(began)),
		InputTokens: use.Input, CachedTokens: use.Cached, OutputTokens: use.Output, Tokens: use.Total, Capped: use.Capped, Estimated: use.Estimated,
	}
	cost, priced := b.config.Prices.Cost(model, use)
	if e.Priced = &priced; priced {
		e.Cost, e.Currency = &cost, b.config.Prices.Currency()
	}
	b.Count(e)
}

// run writes the sums until the book is closed.
func (b *Book) run() {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.keep()
		case <-b.stop:
			return
		}
	}
}

// keep writes the sums that have changed, and forgets days that are over.
func (b *Book) keep() {
	b.io.Lock()
	defer b.io.Unlock()
	if b.store == nil {
		b.mu.Lock()
		for number := range b.days {
			if number <= b.today-int64(b.config.Days) {
				delete(b.days, number)
			}
		}
		b.mu.Unlock()
		return
	}
	b.mu.Lock()
	open := make([]*day, 0, len(b.days))
	for _, d := range b.days {
		open = append(open, d)
	}
	b.mu.Unlock()
	slices.SortFunc(open, func(x, y *day) int { return cmp.Compare(y.number, x.number) }) // a day that ends looks at all files
	var err error
	for _, d := range open {
		err = errors.Join(err, b.keepDay(d))
	}
	switch {
	case err != nil && b.failed == nil:
		b.log.Error("the usage accounts can't be written; what they count is kept in memory and tried again", slog.Any("error", err))
	case err == nil && b.failed != nil:
		b.log.Warn("the usage accounts are written again")
	}
	b.failed = err
}

// keepDay writes a day's changes. A day that is over is written anew once more, in its shortest
// form, and leaves the memory. io is held.
func (b *Book) keepDay(d *day) error {
	if err := b.load(d); err != nil {
		return err
	}
	b.mu.Lock()
	over := d.number != b.today
	rows := d.dirty
	d.dirty = nil
	var lines []byte
	for _, r := range rows {
		if lines == nil {
			lines = append(lines, '\n')
		}
		lines = r.line(lines)
		r.dirty = false
	}
	var all []row
	long := d.size+int64(len(lines)) > slackBytes
	if over || long {
		for _, r := range d.rows {
			all = append(all, row{rowKey: r.rowKey, Sums: r.clone()})
		}
	}
	b.mu.Unlock()
	again := func(err error) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, r := range rows {
			d.change(r)
		}
		return err
	}
	if len(lines) > 0 && !over {
		if err := b.store.Append(fileOf(d.number), lines); err != nil {
			return again(err)
		}
		d.size += int64(len(lines))
		if err := setAtLeast(b.store, d.number, d.size); err != nil {
			b.log.Warn("the length of a file of the usage accounts can't be stored: what is cut off from it would not be noticed", slog.Any("error", err))
		}
	}
	if over && len(all) > 0 || long && d.size > slackBytes && d.size > 3*estimate(all) {
		size, err := rewrite(b.store, d.number, all, d.damaged)
		if err != nil && over {
			return again(err)
		}
		if err == nil {
			d.size = size
		}
	}
	if over {
		b.mu.Lock()
		if len(d.dirty) == 0 && d.number != b.today {
			delete(b.days, d.number)
		}
		b.mu.Unlock()
		b.forget()
	}
	return nil
}

// estimate is about how long the lines of rows are.
func estimate(rows []row) int64 {
	var n int64
	for i := range rows {
		n += int64(400 + len(rows[i].Tenant) + len(rows[i].TenantID) + len(rows[i].Name))
	}
	return n
}

// load adds what a day's file has to the day. io is held.
func (b *Book) load(d *day) error {
	b.mu.Lock()
	loaded := d.loaded
	b.mu.Unlock()
	if loaded {
		return nil
	}
	rows, size, damaged, cut, err := readDay(b.store, d.number)
	if err != nil && !errors.Is(err, status.ErrDataLoss) {
		return err
	}
	if cut { // the next length would hide it
		note := damageLine([]byte("\n"), damaged)
		if err := b.store.Append(fileOf(d.number), note); err != nil {
			return err
		}
		size += int64(len(note))
		if err := setAtLeast(b.store, d.number, size); err != nil {
			return err
		}
	}
	if size > 0 { // what is told from now on outlives a power cut
		if err := b.store.Append(fileOf(d.number), nil); err != nil {
			return err
		}
	}
	b.tellDamage(d.number, damaged, err)
	b.mu.Lock()
	defer b.mu.Unlock()
	d.merge(rows)
	d.size, d.damaged = size, damaged
	return nil
}

func (b *Book) tellDamage(number int64, damaged int, err error) {
	if damaged > 0 {
		b.log.Error("lines of the usage accounts are damaged and are passed over", slog.String("day", dateOf(number)), slog.Int("lines", damaged), slog.Any("error", err))
	}
}

// forget removes the oldest days beyond those that are kept. They are counted and not compared with
// the clock, which may be wrong. io is held.
func (b *Book) forget() {
	stored, err := b.stored()
	if err != nil || len(stored) <= b.config.Days {
		return
	}
	for _, number := range stored[:len(stored)-b.config.Days] {
		if err := b.store.Replace(fileOf(number), nil); err != nil {
			b.log.Warn("an old day of the usage accounts can't be removed", slog.String("day", dateOf(number)), slog.Any("error", err))
		}
		_ = b.store.Replace(sizeOf(number), nil) // says nothing without the other
	}
}

// stored are the days that have a file, the oldest first.
func (b *Book) stored() ([]int64, error) {
	names, err := b.store.Names()
	if err != nil {
		return nil, err
	}
	var numbers []int64
	for _, name := range names {
		if number, ok := numberIn(name); ok {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// Flush writes the sums that were not written yet. It fails with UNAVAILABLE when that is not
// possible; they are kept in memory and tried again.
func (b *Book) Flush() error {
	b.keep()
	b.io.Lock()
	defer b.io.Unlock()
	if b.failed != nil {
		return unwritten(b.failed)
	}
	return nil
}

// unwritten says which shortage of the machine keeps the accounts from being written, and nothing else of the cause.
func unwritten(err error) error {
	text := "the usage accounts can't be written"
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		if known := status.Convert(storedir.Problem(text, number)); known.Public() {
			text = known.Message
		}
	}
	return status.Publicf(status.Unavailable, "%s", text).WithCause(err).WithRetryAfter(writeEvery)
}

// Hold has changes of the files wait until release is called, so that all can be copied as they
// are at one moment; calls are counted meanwhile. It is meant for backups, and short.
func (b *Book) Hold() (release func()) {
	if b.files == nil {
		return func() {}
	}
	return storedir.Hold(b.files)
}

// Close writes the remaining sums, lets the sinks have what can be delivered at once, and gives the
// directory free. It fails with DATA_LOSS where sums could not be written.
func (b *Book) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	b.mu.Unlock()
	close(b.stop)
	b.work.Wait()
	b.keep()
	var err error
	if b.failed != nil {
		err = status.Errorf(status.DataLoss, "usage accounts: the last sums were not written: %w", b.failed)
	}
	if b.hub != nil {
		err = errors.Join(err, b.hub.close())
	}
	return errors.Join(err, b.closeFiles())
}

func (b *Book) closeFiles() error {
	if b.files == nil {
		return nil
	}
	return b.files.Close()
}

// Refusals returns how many calls were refused since the book was opened, of all tenants, by their reason ([ReasonOf]). The
// reasons are those that its comment names, with the fields of quotas and budgets; a field that is none is "other".
func (b *Book) Refusals() map[string]int64 {
	b.refusedMu.Lock()
	defer b.refusedMu.Unlock()
	return maps.Clone(b.refused)
}

// countRefusal counts one for [Book.Refusals].
func (b *Book) countRefusal(reason string) {
	if !reasons[reason] {
		reason = "other"
	}
	b.refusedMu.Lock()
	defer b.refusedMu.Unlock()
	b.refused[reason]++
}
