package sandbox

import (
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// blockBytes is the cost of a block beside its content, in bytes.
const blockBytes = 16

// arenaStart keeps 0 free to mean "no block".
const arenaStart = 16

// alloc returns the offset of a new zeroed block; 0 for no bytes.
func (a *arena) alloc(in *instance, length uint64) uint64 {
	if length == 0 {
		return 0
	}
	if len(a.mem) == 0 {
		a.mem = append(a.mem, make([]byte, arenaStart)...)
	}
	offset := uint64(len(a.mem))
	limit := uint64(in.module.limits.MemoryBytes)
	in.state.worked(int(min(length, limit)))
	if held := uint64(len(a.blocks)+1) * blockBytes; length > limit || offset+length+8+held > limit {
		in.state.denied = true
		halt(status.ResourceExhausted, "the module needs more than its memory limit of %d bytes", limit)
	}
	padded := (length + 7) &^ 7 // words may be read up to the end of a block
	a.mem = slices.Grow(a.mem, int(padded))[:offset+padded]
	if !in.held.Resize(&in.held.Arena, int64(cap(a.mem))) {
		panic(&stop{in.held.Err()})
	}
	clear(a.mem[offset:])
	a.blocks = append(a.blocks, span{offset, length})
	return offset
}

func (a *arena) put(in *instance, b []byte) uint64 {
	offset := a.alloc(in, uint64(len(b)))
	copy(a.block(offset), b)
	return offset
}

func (a *arena) find(offset uint64) (int, bool) {
	return slices.BinarySearchFunc(a.blocks, offset, func(s span, offset uint64) int {
		switch {
		case s.offset < offset:
			return -1
		case s.offset > offset:
			return 1
		}
		return 0
	})
}

// block returns the bytes of the block that starts at offset, nil when there is
// none.
func (a *arena) block(offset uint64) []byte {
	i, ok := a.find(offset)
	if !ok || a.blocks[i].length == freed {
		return nil
	}
	s := a.blocks[i]
	return a.mem[s.offset : s.offset+s.length : s.offset+s.length]
}

// free forgets a block. The last one's bytes are used again, unless the output
// stands in them: a guest may free what it has set as output.
func (a *arena) free(offset uint64) {
	i, ok := a.find(offset)
	if !ok || offset == a.err || offset == a.input {
		return
	}
	a.blocks[i].length = freed
	for n := len(a.blocks); n > 0 && a.blocks[n-1].length == freed && a.blocks[n-1].offset >= a.output.offset+a.output.length; n-- {
		a.mem = a.mem[:a.blocks[n-1].offset]
		a.blocks = a.blocks[:n-1]
	}
}

// slice returns length bytes at offset, if they lie inside.
func (a *arena) slice(offset, length uint64) ([]byte, bool) {
	if size := uint64(len(a.mem)); offset > size || length > size-offset {
		return nil, length == 0
	}
	return a.mem[offset : offset+length], true
}

// at is [arena.slice] for a guest under way: it ends the guest when the bytes lie
// outside.
func (a *arena) at(offset, length uint64) []byte {
	b, ok := a.slice(offset, length)
	if !ok {
		panic(&stop{errOutside(length, offset)})
	}
	return b
}

func (a *arena) inputOffset(in *instance) uint64 {
	if a.input == 0 {
		a.input = a.put(in, in.state.call.Input)
	}
	return a.input
}

// setVar keeps a copy of a block under a name for the rest of the call; the value
// 0 removes it.
func (a *arena) setVar(key string, value uint64) {
	old, had := a.vars[key]
	if had {
		a.varBytes -= len(key) + len(old)
		delete(a.vars, key)
	}
	if value == 0 {
		return
	}
	b := a.block(value)
	if a.varBytes += len(key) + len(b); a.varBytes > maxVarBytes {
		halt(status.ResourceExhausted, "the module's variables exceed %d bytes", maxVarBytes)
	}
	if a.vars == nil {
		a.vars = map[string][]byte{}
	}
	a.vars[key] = slices.Clone(b)
}

// finish copies output and error out of the arena when the call has ended, as the
// Extism SDK does: what counts is what the blocks hold then.
func (a *arena) finish(st *state) {
	if b, ok := a.slice(a.output.offset, a.output.length); ok && a.hasOutput {
		st.output = slices.Clone(b)
	}
	a.finishError(st)
}

func (a *arena) finishError(st *state) {
	if b := a.block(a.err); b != nil {
		st.setError(b)
	}
}

// maxKept is how much of an arena's buffer is kept for the next call.
const maxKept = 1 << 20

// reset wipes the arena; no byte of a call is left for the next.
func (a *arena) reset() {
	clear(a.mem[:cap(a.mem)])
	mem := a.mem[:0]
	if cap(mem) > maxKept {
		mem = nil
	}
	*a = arena{mem: mem, blocks: a.blocks[:0]}
}

// errOutside reports bytes that a guest named outside Extism's memory.
func errOutside(length, offset uint64) error {
	return status.Publicf(status.Internal, "the module named bytes outside Extism's memory: %d at %d", length, offset)
}
