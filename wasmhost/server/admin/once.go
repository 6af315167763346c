package admin

import (
	"container/list"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Once runs a request that carries a key: the first time run, whose answer is kept for 24
// hours when it succeeds; after that the request gets that answer, and replayed is true. Of
// requests at the same time one runs, and the others wait. request is a hash of what is asked
// for. It fails with INVALID_ARGUMENT when the key is not 1 to 255 visible characters of ASCII
// and with FAILED_PRECONDITION, and [ErrKeyReused], when it came with another request before.
func (t *Tenants) Once(ctx context.Context, key, request string, run func() (Answer, error)) (a Answer, replayed bool, err error) {
	if !usableKey(key) {
		return a, false, status.Publicf(status.InvalidArgument, "Idempotency-Key: want 1 to %d visible characters of ASCII", maxKeyBytes)
	}
	key = Hash(key)
	defer t.answers.busy.lock(key)()
	t.forgetAnswers(ctx, time.Now())
	t.mu.RLock()
	at, ok := t.answers.byKey[key]
	t.mu.RUnlock()
	if ok {
		k, _ := at.Value.(*kept)
		if k.Request != request {
			return a, false, status.Publicf(status.FailedPrecondition, "Idempotency-Key: the key was used for another request before; take a new one").WithCause(ErrKeyReused)
		}
		return k.Answer, true, nil
	}
	if a, err = run(); err != nil {
		return a, false, err
	}
	t.keep(context.WithoutCancel(ctx), &kept{Key: key, Request: request, At: time.Now().UTC(), Answer: a})
	return a, false, nil
}

func (t *Tenants) readAnswers(ctx context.Context) error {
	t.answers.byKey = map[string]*list.Element{}
	docs, err := t.store.List(ctx, answerKind)
	if err != nil {
		return err
	}
	var all []*kept
	for _, d := range docs {
		k := &kept{}
		if d.Problem != nil || schema.Decode(d.Value, k, schema.RefuseUnknown) != nil || k.Key != d.Name {
			if err := t.store.Delete(ctx, answerKind, d.Name); err != nil {
				return err
			}
			continue
		}
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b *kept) int { return a.At.Compare(b.At) })
	for _, k := range all {
		t.remember(k)
	}
	t.forgetAnswers(ctx, time.Now())
	return nil
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
	t.answers.byKey[k.Key] = t.answers.order.PushBack(k)
	t.answers.bytes += k.size()
}

// forgetAnswers drops answers whose time is over, and the oldest of too many.
func (t *Tenants) forgetAnswers(ctx context.Context, now time.Time) {
	var old []string
	t.mu.Lock()
	for at := t.answers.order.Front(); at != nil; at = t.answers.order.Front() {
		k, _ := at.Value.(*kept)
		if now.Sub(k.At) < keepAnswers && t.answers.order.Len() <= maxAnswers && t.answers.bytes <= maxAnswerBytes {
			break
		}
		t.answers.order.Remove(at)
		delete(t.answers.byKey, k.Key)
		t.answers.bytes -= k.size()
		old = append(old, k.Key)
	}
	t.mu.Unlock()
	for _, key := range old {
		if err := t.store.Delete(context.WithoutCancel(ctx), answerKind, key); err != nil {
			t.log.WarnContext(ctx, "an old answer can't be forgotten yet", slog.Any("error", err))
		}
	}
}
