// Package cache answers a model request that was answered before.
//
// It owns the middleware "cache" and its store: answers by a hash of the model's key
// and the request, as JSON, so that nobody shares a value with anybody. Use:
//
//	f, err := cache.New(cache.Options{TTL: time.Hour})
//	err = middleware.Register(reg, f)
//	… engine.WithUse(engine.UseName("cache", nil))
//
// Only finished answers are kept, never errors; those that ask for tools only when
// asked to. Requests that are equal but for the secrets of their configs (see
// [model.SplitConfig]) are equal; requests of different callers are not, see
// [Options.Namespace]. Calls that come while an equal one is under way wait for its
// answer, and ask on their own when it fails or takes longer than [Options.Wait]. A call
// that is part of one under way never waits, so that none waits for itself. A hit replays the chunks that were
// streamed, and its usage says {"custom": {"cacheHits": 1}} and no tokens, since none
// were used. A factory's store is its own and safe for concurrent use.
package cache

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/json"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Name is the middleware's name.
const Name = "cache"

// Defaults of [Options].
const (
	DefaultMaxEntries = 1000
	DefaultMaxBytes   = 64 << 20
	DefaultTTL        = 10 * time.Minute
	DefaultWait       = time.Minute
)

// Config is the config of a generate call.
type Config struct {
	TTLMS             float64 `json:"ttlMs,omitempty" jsonschema:"minimum=0" jsonschema_description:"How old an answer may be, in milliseconds, where that is less than the operator allows. Default 0: as old as the operator allows."`
	CacheToolRequests bool    `json:"cacheToolRequests,omitempty" jsonschema_description:"Keeps answers that ask for tools as well. The tools run on a hit too."`
}

// Options are the operator's; the zero value is useful.
type Options struct {
	MaxEntries int           // 0 means [DefaultMaxEntries]
	MaxBytes   int           // of all entries; 0 means [DefaultMaxBytes]
	TTL        time.Duration // 0 means [DefaultTTL]
	// Wait is how long after a call has begun equal ones wait for its answer; 0 means
	// [DefaultWait].
	Wait time.Duration
	// Namespace separates those who must not share answers; nil separates by auth in
	// the action context. An engine whose tenants may have different models under
	// one name must separate those tenants here, or give each a cache.
	Namespace func(ctx context.Context) string
}

// New makes the factory with an empty store.
func New(o Options) (middleware.Factory, error) {
	if o.MaxEntries < 0 || o.MaxBytes < 0 || o.TTL < 0 || o.Wait < 0 {
		return nil, status.Publicf(status.InvalidArgument, "middleware %q: limits must not be negative", Name)
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	if o.Namespace == nil {
		o.Namespace = auth
	}
	s := &store{Options: o, entries: map[key]*list.Element{}, flights: map[key]*flight{}}
	return middleware.Define(middleware.Desc{Name: Name, Description: "Answers a model request that was answered before."},
		func(_ context.Context, c Config) (*middleware.Hooks, error) {
			maxAge := o.TTL
			if asked := c.TTLMS * float64(time.Millisecond); asked > 0 && asked < float64(maxAge) {
				maxAge = time.Duration(asked)
			}
			return &middleware.Hooks{Model: (&cache{s, c, maxAge}).call}, nil
		})
}

// Plugin registers the middleware.
func Plugin(o Options) registry.Plugin {
	return middleware.Plugin(Name, func() (middleware.Factory, error) { return New(o) })
}

func auth(ctx context.Context) string {
	var c map[string]json.RawMessage
	if json.Unmarshal(action.Context(ctx), &c) != nil {
		return ""
	}
	return string(c["auth"])
}

// cache is the middleware in one generate call.
type cache struct {
	*store
	Config
	maxAge time.Duration
}

func (c *cache) call(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
	k, ok := c.key(ctx, call)
	if !ok {
		return next(ctx, call)
	}
	for {
		hit, other, leads := c.look(k, c.maxAge)
		if hit != nil {
			if resp, usable, err := c.replay(hit, call.Send); usable {
				return resp, err
			}
			return next(ctx, call)
		}
		if leads {
			return c.ask(ctx, k, call, next)
		}
		if leading(ctx) {
			return next(ctx, call) // the other one may be the call that this is part of, or wait for it
		}
		if err := c.await(ctx, other); err != nil {
			return nil, err
		}
		if c.peek(k, c.maxAge) == nil {
			return next(ctx, call) // it failed there, takes too long or may not be kept: ask the model here
		}
	}
}

// await returns when the other call has ended or has taken too long; it fails when ctx ends.
func (c *cache) await(ctx context.Context, other *flight) error {
	patience := time.NewTimer(c.Wait - time.Since(other.began))
	defer patience.Stop()
	select {
	case <-other.ended:
	case <-patience.C:
	case <-ctx.Done():
		return status.Convert(ctx.Err())
	}
	return nil
}

type leadsKey struct{}

// leading reports whether ctx is that of a call for whose answer others may wait.
func leading(ctx context.Context) bool { return ctx.Value(leadsKey{}) != nil }

// ask calls the model and keeps the answer. The flight ends however the call does.
func (c *cache) ask(ctx context.Context, k key, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
	defer c.land(k)
	ctx = context.WithValue(ctx, leadsKey{}, true)
	rec := &recorder{limit: c.MaxBytes}
	watched := *call
	if call.Send != nil {
		watched.Send = func(chunk *model.Chunk) error {
			rec.add(chunk)
			return call.Send(chunk)
		}
	}
	resp, err := next(ctx, &watched)
	if err != nil || !c.keeps(resp) {
		return resp, err
	}
	if raw, err := json.Marshal(resp); err == nil {
		if chunks, whole := rec.all(); whole {
			c.put(k, &entry{key: k, response: raw, chunks: chunks, streamed: call.Send != nil, made: time.Now()})
		}
	}
	return resp, nil
}

// keeps reports whether an answer is one that would be given again.
func (c *cache) keeps(resp *model.Response) bool {
	if resp == nil || resp.Message == nil || len(resp.Operation) > 0 {
		return false
	}
	switch resp.FinishReason {
	case model.FinishStop, model.FinishLength, "":
	default:
		return false
	}
	return c.CacheToolRequests || len(resp.ToolRequests()) == 0
}

// replay gives a fresh copy of an answer, after its chunks.
func (c *cache) replay(e *entry, send model.Send) (resp *model.Response, usable bool, err error) {
	resp = &model.Response{}
	if json.Unmarshal(e.response, resp) != nil || resp.Message == nil || !c.CacheToolRequests && len(resp.ToolRequests()) > 0 {
		return nil, false, nil
	}
	resp.Usage = &model.Usage{Custom: map[string]float64{"cacheHits": 1}}
	if send == nil {
		return resp, true, nil
	}
	if !e.streamed {
		return resp, true, send(&model.Chunk{Content: resp.Message.Content})
	}
	for _, raw := range e.chunks {
		chunk := &model.Chunk{}
		if err := json.Unmarshal(raw, chunk); err != nil {
			return nil, true, status.Errorf(status.Internal, "replay a chunk: %w", err)
		}
		if err := send(chunk); err != nil {
			return nil, true, err
		}
	}
	return resp, true, nil
}

// key is the hash of everything that an answer depends on. A background model has no answer yet,
// and a model that is not known no key.
func (c *cache) key(ctx context.Context, call *middleware.ModelCall) (key, bool) {
	if call.Model == nil || call.Model.Desc().Kind != action.Model {
		return key{}, false
	}
	req := call.Request.WithoutSecrets()
	raw, err := json.Marshal(map[string]any{
		"model": call.Model.Desc().Key().String(), "namespace": c.Namespace(ctx), "request": req,
	})
	if err != nil {
		return key{}, false
	}
	canonical, err := canonical(raw)
	if err != nil {
		return key{}, false
	}
	return sha256.Sum256(canonical), true
}

// canonical sorts the fields of all objects and keeps the digits of numbers.
func canonical(raw json.RawMessage) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// recorder keeps the chunks of one answer, encoded, up to a limit.
type recorder struct {
	limit int

	mu     sync.Mutex // guards the fields below
	chunks [][]byte
	size   int
	lost   bool
}

func (r *recorder) add(chunk *model.Chunk) {
	raw, err := json.Marshal(chunk)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size += len(raw); err != nil || r.size > r.limit {
		r.lost, r.chunks = true, nil
	}
	if !r.lost {
		r.chunks = append(r.chunks, raw)
	}
}

func (r *recorder) all() ([][]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.chunks, !r.lost
}
