package services

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
)

func (s *Services) namespace() kv.Namespace {
	return kv.Namespace{Tenant: s.config.Tenant, Module: s.config.Module}
}

func (v *Call) kvGet(ctx context.Context, request []byte) (value json.RawMessage, err error) {
	var in struct {
		Key string `json:"key"`
	}
	if err := decode(abi.CapKVGet, request, &in); err != nil {
		return nil, err
	}
	err = v.life.use(abi.CapKVGet, func() error {
		value, err = v.config.KV.Get(ctx, v.namespace(), in.Key)
		return err
	})
	return value, err
}

func (v *Call) kvSet(ctx context.Context, request []byte) error {
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
	quota := kv.Quota{Keys: v.config.Limits.KVKeys, Bytes: v.config.Limits.KVBytes, ValueBytes: v.config.Limits.KVValueBytes}
	return v.life.use(abi.CapKVSet, func() error {
		return v.config.KV.Set(ctx, v.namespace(), in.Key, in.Value, o, quota)
	})
}

// optional tells a member that is null from one that is not there.
type optional json.RawMessage

func (o *optional) UnmarshalJSON(b []byte) error {
	*o = bytes.Clone(b)
	return nil
}

func (v *Call) kvDelete(ctx context.Context, request []byte) error {
	var in struct {
		Key string `json:"key"`
	}
	if err := decode(abi.CapKVDelete, request, &in); err != nil {
		return err
	}
	return v.life.use(abi.CapKVDelete, func() error { return kv.Delete(ctx, v.config.KV, v.namespace(), in.Key) })
}

func (v *Call) kvList(ctx context.Context, request []byte) (json.RawMessage, error) {
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
		page, err = v.config.KV.List(ctx, v.namespace(), in.Prefix, string(from), in.Limit)
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
