package admin

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Once runs a request that carries a key: the first time run, whose answer is kept for 24
// hours when it succeeds; after that the request gets that answer, and replayed is true. Of
// requests at the same time one runs, and the others wait. It fails with INVALID_ARGUMENT
// when the key is not 1 to 255 visible characters of ASCII, with FAILED_PRECONDITION, and
// [ErrKeyReused], when its caller has used it for another request before, and with DATA_LOSS when the
// answer is damaged: then nobody knows which request it answered, and run is not called.
//
// What run returns is stored as it is: a secret does not belong into it.
func (t *Tenants) Once(ctx context.Context, o Once, run func() (Answer, error)) (a Answer, replayed bool, err error) {
	if !usableKey(o.Key) {
		return a, false, status.Publicf(status.InvalidArgument, "Idempotency-Key: want 1 to %d visible characters of ASCII", maxKeyBytes)
	}
	key := Hash(o.Caller, o.Key)
	defer t.answers.busy.lock(key)()
	t.forgetAnswers(ctx, time.Now())
	t.mu.RLock()
	k := t.answers.byKey[key]
	t.mu.RUnlock()
	if k != nil && k.Lost {
		return a, false, status.Publicf(status.DataLoss, "Idempotency-Key: a request with this key was answered before, and its answer is damaged. It is not run again: look at what it was to make, and send it with another key where that is missing")
	}
	if k != nil {
		if k.Request != o.Request {
			return a, false, status.Publicf(status.FailedPrecondition, "Idempotency-Key: the key was used for another request before; take a new one").WithCause(ErrKeyReused)
		}
		return k.Answer, true, nil
	}
	if err := ctx.Err(); err != nil { // it has waited for another one
		return a, false, status.Convert(err)
	}
	if a, err = run(); err != nil {
		return a, false, err
	}
	t.keep(context.WithoutCancel(ctx), &kept{Key: key, Request: o.Request, At: time.Now().UTC(), Owner: o.Owner, Answer: a})
	return a, false, nil
}

func (t *Tenants) readAnswers(ctx context.Context) error {
	t.answers.byKey, t.answers.owned, t.answers.most = map[string]*kept{}, map[string]*owned{}, maxAnswers
	docs, err := t.store.List(ctx, answerKind)
	if err != nil {
		return err
	}
	var all []*kept
	for _, d := range docs {
		k, err := &kept{}, d.Problem
		if err == nil {
			err = schema.Decode(d.Value, k, schema.RefuseUnknown)
		}
		if err == nil && k.Key != d.Name {
			err = status.Errorf(status.DataLoss, "it is stored under another key")
		}
		if err != nil {
			if k, err = t.lostAnswer(ctx, d, err); err != nil {
				return err
			}
		}
		if k != nil {
			all = append(all, k)
		}
	}
	slices.SortFunc(all, func(a, b *kept) int { return a.At.Compare(b.At) })
	for _, k := range all {
		t.remember(k)
	}
	t.forgetAnswers(ctx, time.Now())
	return nil
}

// lostAnswer puts a mark in the place of an answer that can't be read, whose name is its key: the request
// that it answered is not run once more. nil: no request has such a key.
func (t *Tenants) lostAnswer(ctx context.Context, d Document, why error) (*kept, error) {
	if len(d.Name) != len(Hash()) {
		t.log.ErrorContext(ctx, "a file that is no answer to a request is removed", slog.String("answer", abi.Line(d.Name, 80)), slog.Any("error", why))
		return nil, t.store.Delete(ctx, answerKind, d.Name)
	}
	t.log.ErrorContext(ctx, "the answer to a request with an Idempotency-Key is damaged; requests with that key fail with DATA_LOSS for 24 hours", slog.String("answer", d.Name), slog.Any("error", why))
	k := &kept{Key: d.Name, At: time.Now().UTC(), Lost: true}
	raw, err := rawjson.Encode(k)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode a lost answer: %w", err)
	}
	_, err = replace(ctx, t.store, Document{Kind: answerKind, Name: d.Name, Revision: d.Revision, Value: raw})
	return k, err
}

// keep stores an answer. What it answers is done: when it can't be stored it is kept in memory.
func (t *Tenants) keep(ctx context.Context, k *kept) {
	raw, err := rawjson.Encode(k)
	if err == nil {
		_, err = t.store.Put(ctx, Document{Kind: answerKind, Name: k.Key, Value: raw})
	}
	if err != nil {
		t.log.WarnContext(ctx, "the answer to a request with a key can't be stored; a restart forgets it", slog.Any("error", err))
	}
	t.mu.Lock()
	t.remember(k)
	t.mu.Unlock()
	t.forgetAnswers(ctx, time.Now())
}

// remember puts an answer into memory. mu is held.
func (t *Tenants) remember(k *kept) {
	all := &t.answers
	own := all.owned[k.Owner]
	if own == nil {
		own = &owned{}
		all.owned[k.Owner] = own
	}
	all.byKey[k.Key] = k
	k.inAll, k.inOwned = all.order.PushBack(k), own.order.PushBack(k)
	all.bytes += k.size()
	own.bytes += k.size()
}

// dropAnswer takes an answer out of memory. mu is held.
func (t *Tenants) dropAnswer(k *kept) {
	all := &t.answers
	own := all.owned[k.Owner]
	delete(all.byKey, k.Key)
	all.order.Remove(k.inAll)
	own.order.Remove(k.inOwned)
	all.bytes -= k.size()
	if own.bytes -= k.size(); own.order.Len() == 0 {
		delete(all.owned, k.Owner)
	}
}

// forgetAnswers drops answers whose time is over, and some of too many.
func (t *Tenants) forgetAnswers(ctx context.Context, now time.Time) {
	var old []string
	t.mu.Lock()
	for k := t.answers.tooMany(now); k != nil; k = t.answers.tooMany(now) {
		t.dropAnswer(k)
		old = append(old, k.Key)
	}
	t.mu.Unlock()
	for _, key := range old {
		if err := t.store.Delete(context.WithoutCancel(ctx), answerKind, key); err != nil {
			t.log.WarnContext(ctx, "an old answer can't be forgotten yet", slog.Any("error", err))
		}
	}
}
