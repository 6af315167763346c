package sandbox

import (
	"encoding/binary"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// runWIT calls a function of one string that returns a string, or a result of two strings, by the component model's
// canonical ABI (WebAssembly/component-model: design/mvp/CanonicalABI.md). The guest makes room for its input, and gives
// the place of what it returns: pointer and length, with a discriminant before them where it is a result. All of these
// numbers are the guest's: what lies outside of its memory fails the call.
func (in *instance) runWIT(call *Call) error {
	at, err := in.putText(call.Input)
	if err != nil {
		return err
	}
	returned, err := in.invoke(call.Export, []uint64{uint64(at), uint64(len(call.Input))})
	if err != nil {
		return err
	}
	err = in.guarded(func() error { return in.takeText(call.WIT, returned) })
	if err != nil {
		return err
	}
	post := abi.WITPost + call.Export
	if in.function(post).Function != nil {
		if _, err := in.invoke(post, []uint64{uint64(returned)}); err != nil {
			return err
		}
	}
	if in.state.failed {
		return &exitError{1}
	}
	return nil
}

// putText copies the input to where the guest wants it.
func (in *instance) putText(input []byte) (at uint32, err error) {
	if at, err = in.invoke(abi.WITRealloc, []uint64{0, 0, 1, uint64(len(input))}); err != nil {
		return 0, err
	}
	err = in.guarded(func() error {
		in.state.worked(len(input))
		if !in.guest.Memory().Write(at, input) {
			return outsideMemory("its input", at, len(input))
		}
		return nil
	})
	return at, err
}

// takeText takes what the function has returned as output or error.
func (in *instance) takeText(kind abi.WIT, at uint32) error {
	size := uint32(8)
	if kind == abi.WITResult {
		size = 12
	}
	area, ok := in.guest.Memory().Read(at, size)
	if !ok || at%4 != 0 {
		return outsideMemory("what it returns", at, int(size))
	}
	failed := false
	if kind == abi.WITResult {
		if area[0] > 1 {
			return status.Publicf(status.Internal, "the module returned no result: its discriminant is %d", area[0])
		}
		failed, area = area[0] == 1, area[4:]
	}
	from, length := binary.LittleEndian.Uint32(area), binary.LittleEndian.Uint32(area[4:])
	text, ok := in.guest.Memory().Read(from, length)
	if !ok {
		return outsideMemory("its text", from, int(length))
	}
	if in.state.failed = failed; failed {
		in.state.setError(text)
	} else {
		in.state.setOutput(text)
	}
	return nil
}

func outsideMemory(what string, at uint32, length int) error {
	return status.Publicf(status.Internal, "the module gave a place for %s that does not lie in its memory: %d bytes at %d", what, length, at)
}

// guarded runs work of the host after the guest has returned, which may end the call as a host function does.
func (*instance) guarded(work func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			ended, ok := r.(*stop)
			if !ok {
				panic(r)
			}
			err = ended.err
		}
	}()
	return work()
}
