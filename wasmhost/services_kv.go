package wasmhost

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
)

// lifetime is the time from a module's first upload to its removal. All of its revisions
// share one, so that a call that outlives the removal, of whichever revision, neither
// reads nor writes the values of the next module of that name.
type lifetime struct {
	mu    sync.RWMutex // held for reading while values are read or written
	ended bool
}

// use runs an operation on the module's values; FAILED_PRECONDITION when the module was
// removed.
func (l *lifetime) use(c abi.Capability, operation func() error) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.ended {
		return status.Publicf(status.FailedPrecondition, "%s: the module was removed", c)
	}
	return operation()
}

// end waits for operations that are under way and refuses later ones.
func (l *lifetime) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

func (s *services) namespace() kv.Namespace {
	return kv.Namespace{Tenant: s.tenant.name, Module: s.module}
}

func (v *hostCalls) kvGet(ctx context.Context, request []byte) (value json.RawMessage, err error) {
	var in struct {
		Key string `json:"key"`
	}
	if err := decode(abi.CapKVGet, request, &in); err != nil {
		return nil, err
	}
	err = v.life.use(abi.CapKVGet, func() error {
		value, err = v.host.kv.Get(ctx, v.namespace(), in.Key)
		return err
	})
	return value, err
}

func (v *hostCalls) kvSet(ctx context.Context, request []byte) error {
	var in struct {
		Key        string          `json:"key"`
		Value      json.RawMessage `json:"value"`
		TTLSeconds json.Number     `json:"ttlSeconds"`
		If         optional        `json:"if"`
	}
	if err := decode(abi.CapKVSet, request, &in); err != nil {
		return err
	}
	if in.Value == nil {
		return status.Publicf(status.InvalidArgument, "kv_set: request: \"value\" is missing")
	}
	o := kv.SetOptions{If: json.RawMessage(in.If)}
	if in.TTLSeconds != "" {
		seconds, err := in.TTLSeconds.Int64()
		if err != nil || seconds < 1 || seconds > int64(kv.MaxTTL/time.Second) {
			return status.Publicf(status.InvalidArgument, "kv_set: request: \"ttlSeconds\" is a whole number from 1 to %d", int64(kv.MaxTTL/time.Second))
		}
		o.TTL = time.Duration(seconds) * time.Second
	}
	quota := kv.Quota{Keys: v.limits.KVKeys, Bytes: v.limits.KVBytes, ValueBytes: v.limits.KVValueBytes}
	return v.life.use(abi.CapKVSet, func() error {
		return v.host.kv.Set(ctx, v.namespace(), in.Key, in.Value, o, quota)
	})
}

// optional tells a member that is null from one that is not there.
type optional json.RawMessage

func (o *optional) UnmarshalJSON(b []byte) error {
	*o = bytes.Clone(b)
	return nil
}

func (v *hostCalls) kvDelete(ctx context.Context, request []byte) error {
	var in struct {
		Key string `json:"key"`
	}
	if err := decode(abi.CapKVDelete, request, &in); err != nil {
		return err
	}
	return v.life.use(abi.CapKVDelete, func() error { return kv.Delete(ctx, v.host.kv, v.namespace(), in.Key) })
}

func (v *hostCalls) kvList(ctx context.Context, request []byte) (json.RawMessage, error) {
	var in struct {
		Prefix string `json:"prefix"`
		Cursor string `json:"cursor"`
		Limit  int    `json:"limit"`
	}
	if err := decode(abi.CapKVList, request, &in); err != nil {
		return nil, err
	}
	if in.Limit < 0 || in.Limit > kv.MaxList {
		return nil, status.Publicf(status.InvalidArgument, "kv_list: request: \"limit\" is a whole number from 1 to %d", kv.MaxList)
	}
	from, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "kv_list: request: \"cursor\" is none that this host gave")
	}
	var page kv.Page
	err = v.life.use(abi.CapKVList, func() error {
		page, err = v.host.kv.List(ctx, v.namespace(), in.Prefix, string(from), in.Limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := struct {
		Keys   []string `json:"keys"`
		Cursor string   `json:"cursor,omitempty"`
	}{page.Keys, base64.RawURLEncoding.EncodeToString([]byte(page.Next))}
	if out.Keys == nil {
		out.Keys = []string{}
	}
	return marshal(out)
}
