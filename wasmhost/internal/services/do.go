package services

import (
	"context"
	"encoding/json"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Do serves a capability. One that was refused at upload is refused here once more.
func (v *Call) Do(ctx context.Context, c abi.Capability, request []byte) (json.RawMessage, error) {
	value, err := v.counted(ctx, c, request)
	traced(ctx, c, err)
	return value, err
}

// counted counts the memory of what is asked and answered.
func (v *Call) counted(ctx context.Context, c abi.Capability, request []byte) (json.RawMessage, error) {
	v.forget()
	asked, err := v.ask(len(request))
	if err != nil {
		return nil, err
	}
	defer asked()
	value, err := v.do(ctx, c, request)
	if err == nil && v.kept == 0 {
		err = v.keep(ctx, len(value))
	}
	if err != nil {
		v.forget()
		return nil, err
	}
	return value, nil
}

func (v *Call) do(ctx context.Context, c abi.Capability, request []byte) (json.RawMessage, error) {
	if err := v.admit(c); err != nil {
		return nil, err
	}
	switch c {
	case abi.CapNow:
		return marshal(time.Now().UTC().Format(time.RFC3339Nano))
	case abi.CapResumed:
		return resumed(ctx)
	case abi.CapHTTP:
		return v.fetchJSON(ctx, request)
	case abi.CapKVGet:
		return v.kvGet(ctx, request)
	case abi.CapKVSet:
		return nil, v.kvSet(ctx, request)
	case abi.CapKVDelete:
		return nil, v.kvDelete(ctx, request)
	case abi.CapKVList:
		return v.kvList(ctx, request)
	case abi.CapRun:
		return v.run(ctx, request)
	case abi.CapGenerate:
		return v.generate(ctx, request)
	}
	return nil, status.Publicf(status.Unimplemented, "this host does not provide the capability %q", c)
}

// resumed gives a tool its caller's answer to its interrupt: null in a first run.
func resumed(ctx context.Context) (json.RawMessage, error) {
	answer, again := tool.Resumed(ctx)
	if !again {
		return nil, nil
	}
	original, _ := tool.OriginalInput(ctx)
	return marshal(struct {
		Resumed       json.RawMessage `json:"resumed"`
		OriginalInput json.RawMessage `json:"originalInput,omitempty"`
	}{answer, original})
}
