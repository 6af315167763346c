package wasmhost

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
)

// restore serves the modules of the store.
func (h *Host) restore(ctx context.Context) error {
	records, err := h.store.Current(ctx)
	if err != nil {
		return err
	}
	h.reportDamaged(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	h.sweepValues(ctx, records)
	h.reportValues(ctx)
	for _, rec := range records {
		t, err := h.tenant(rec.Tenant)
		if err != nil {
			h.log.WarnContext(ctx, "stored module belongs to a tenant that is not configured", slog.String("tenant", rec.Tenant), slog.String("module", rec.Name))
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return status.Convert(ctx.Err())
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := h.restoreModule(ctx, t, rec); err != nil {
				h.retry(t, rec)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return status.Convert(ctx.Err())
	}
	return nil
}

// restoreModule brings one stored module back into service. A module that can't be served is kept, with
// its problem. The error is of one that may be served when it is tried again: the machine was too busy
// to compile it, or lacked something.
func (h *Host) restoreModule(ctx context.Context, t *tenant, rec module.Record) error {
	start := time.Now()
	h.countKept(ctx, t, rec.Name)
	l, err := h.reload(ctx, t, rec, true)
	if err != nil {
		h.log.ErrorContext(ctx, "stored module can't be served", slog.String("tenant", rec.Tenant), slog.String("module", rec.Name), slog.Any("error", err))
		l = broken(rec, err)
	} else {
		h.log.InfoContext(ctx, "module restored", slog.String("tenant", rec.Tenant), slog.String("module", rec.Name), slog.Duration("took", time.Since(start)))
	}
	h.swap(t, rec.Name, l)
	if passing(err) {
		return err
	}
	return nil
}

// broken stands for a module that can't be served, and says why to those who call it.
func broken(rec module.Record, err error) *loaded {
	rec.Problem = status.ToWire(err, false).Message
	l := &loaded{record: rec}
	switch {
	case errors.Is(err, status.ErrDataLoss):
		l.damage = status.Publicf(status.DataLoss, "module %q can't be served: %s", rec.Name, rec.Problem)
	case passing(err):
		l.damage = status.Publicf(status.Unavailable, "module %q can't be served yet: %s", rec.Name, rec.Problem).WithRetryAfter(retryFirst)
	}
	return l
}

// passing reports whether an error is of the moment: the same may work later.
func passing(err error) bool {
	if err == nil {
		return false
	}
	switch status.Of(err) {
	case status.Unavailable, status.DeadlineExceeded, status.Cancelled:
		return true
	}
	return status.Convert(err).RetryAfter > 0
}

// How long a host waits before it tries again to bring a module back.
const (
	retryFirst = time.Second
	retryLast  = time.Minute
)

// retry tries to bring a module back until that works, fails for good, or the module or its tenant
// has been changed.
func (h *Host) retry(t *tenant, rec module.Record) {
	h.mu.RLock()
	found := t.modules[rec.Name]
	h.mu.RUnlock()
	h.retries.start(func(ctx context.Context) {
		for wait := retryFirst; ; wait = min(2*wait, retryLast) {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
			if !h.tryAgain(ctx, t, rec, &found) {
				return
			}
		}
	})
}

// tryAgain makes one attempt, and reports whether there is to be another one. found is the entry that
// the last attempt left; another one there means that the module was changed.
func (h *Host) tryAgain(ctx context.Context, t *tenant, rec module.Record, found **loaded) bool {
	t.loading.Lock()
	defer t.loading.Unlock()
	h.mu.RLock()
	same := t.modules[rec.Name] == *found
	h.mu.RUnlock()
	if !same || t.here() != nil || ctx.Err() != nil {
		return false
	}
	err := h.restoreModule(ctx, t, rec)
	h.mu.RLock()
	*found = t.modules[rec.Name]
	h.mu.RUnlock()
	return err != nil
}

// reportDamaged remembers and logs of which tenants the store can't read anything.
func (h *Host) reportDamaged(ctx context.Context) {
	store, ok := h.store.(module.DamageReporter)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.damaged = map[string]error{}
	for name, err := range store.Damaged() {
		h.log.ErrorContext(ctx, "the modules of a tenant can't be read; the tenant is not served until its directory is put back and the server started again",
			slog.String("tenant", name), slog.Any("error", err))
		h.damaged[name] = status.Publicf(status.DataLoss, "the stored modules of tenant %q can't be read; the server's operator finds the reason in its log", name).WithCause(err)
	}
}
