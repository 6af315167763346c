package sandbox_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// Opcodes and numbers of the guests that move words.
const (
	opLocalGet = 0x20
	opLocalSet = 0x21
	opI64Const = 0x42
	opI64Add   = 0x7c
	opI64Mul   = 0x7e
	opExtendU  = 0xad
	arenaFirst = 16  // offset of the first block of an arena
	blockSize  = 256 // of the one block that they have

	sum = 0 // the local of what was read
)

// The imports of a mover, by index: some stand twice, as a module may have them.
const (
	impInput = iota
	impStore
	impAlloc
	impOutput
	impLoad
	impLoad8
	impStore8
	impInputAgain
	impStoreAgain
	imports
)

// mover writes a guest in Extism's convention that reads and writes words one after the other, as the bytes of its
// program say, and beside it computes what comes out.
type mover struct {
	input     []byte
	arena     []byte
	code      []byte
	sum       uint64
	in, out   uint64 // where the next word is read and written, when they follow each other
	outside   bool   // it has named what is not there
	nextValue uint64
}

func (m *mover) emit(parts ...[]byte) { m.code = append(m.code, w.Cat(parts...)...) }

// add adds a call's result on the stack.
func (m *mover) add(value uint64) {
	m.emit([]byte{opLocalGet, sum, opI64Const, 31, opI64Mul, opI64Add, opLocalSet, sum})
	if !m.outside {
		m.sum = m.sum*31 + value
	}
}

func i64Const(v uint64) []byte { return w.Cat([]byte{opI64Const}, w.S64(int64(v))) }

func (m *mover) read(imp byte, at uint64) {
	m.emit(i64Const(at), []byte{opCall, imp})
	var word [8]byte
	if at < uint64(len(m.input)) {
		copy(word[:], m.input[at:])
	}
	m.add(binary.LittleEndian.Uint64(word[:]))
	m.in = at + 8
}

// write stores a word of its own, by a call of the import or, with imp 0xff, through the table.
func (m *mover) write(imp byte, at uint64) {
	m.nextValue = m.nextValue*6364136223846793005 + 1442695040888963407
	m.emit(i64Const(at), i64Const(m.nextValue))
	if imp == 0xff {
		m.emit([]byte{opI32Const, 0, opCallIndirect, 1, 0})
	} else {
		m.emit([]byte{opCall, imp})
	}
	m.out = at + 8
	if b := m.at(at, 8); b != nil {
		binary.LittleEndian.PutUint64(b, m.nextValue)
	}
}

// at gives bytes of the arena, nil once the guest has named some that are not there.
func (m *mover) at(offset, length uint64) []byte {
	if size := uint64(len(m.arena)); m.outside || offset > size || length > size-offset {
		m.outside = true
		return nil
	}
	return m.arena[offset : offset+length]
}

// step is one instruction of the program.
func (m *mover) step(op, arg byte) {
	at := arenaFirst + uint64(arg)%(blockSize-8)
	switch op % 16 {
	case 0, 1, 2:
		m.read(impInput, m.in)
	case 3:
		m.read(impInput, uint64(arg)*3)
	case 4:
		m.read(impInput, -uint64(arg))
	case 5:
		m.read(impInputAgain, m.in)
	case 6, 7, 8:
		m.write(impStore, m.out)
	case 9:
		m.write(impStore, at)
	case 10:
		m.write(impStoreAgain, m.out)
	case 11:
		m.write(0xff, m.out)
	case 12:
		m.emit(i64Const(at), []byte{opI32Const, arg & 63, opCall, impStore8})
		if b := m.at(at, 1); b != nil {
			b[0] = arg & 63
		}
	case 13:
		m.emit(i64Const(at), []byte{opCall, impLoad})
		if b := m.at(at, 8); b != nil {
			m.add(binary.LittleEndian.Uint64(b))
		} else {
			m.add(0)
		}
	case 14:
		m.emit(i64Const(at), []byte{opCall, impLoad8, opExtendU})
		if b := m.at(at, 1); b != nil {
			m.add(uint64(b[0]))
		} else {
			m.add(0)
		}
	case 15:
		if arg == 255 {
			m.write(impStore, -uint64(arg))
			return
		}
		m.out = at
	}
}

// moverOf writes the module for a program; its export f has the block as output, after which it goes on to write.
func moverOf(program, input []byte) (wasm []byte, m *mover) {
	m = &mover{input: input, arena: make([]byte, arenaFirst+blockSize), out: arenaFirst}
	m.emit(i64Const(blockSize), []byte{opCall, impAlloc, opDrop})
	m.emit(i64Const(arenaFirst), i64Const(blockSize), []byte{opCall, impOutput})
	for ; len(program) >= 2; program = program[2:] {
		m.step(program[0], program[1])
	}
	for i := range uint64(3) { // bytes in the buffer when the guest ends
		m.emit(i64Const(arenaFirst+8*i), []byte{opLocalGet, sum, opCall, impStore})
		if b := m.at(arenaFirst+8*i, 8); b != nil {
			binary.LittleEndian.PutUint64(b, m.sum)
		}
	}
	m.emit([]byte{opI32Const, 0})
	host := func(name string, typ uint32) []byte { return w.ImportFunc("extism:host/env", name, typ) }
	return w.Module(
		w.Types(w.FuncType("I", "I"), w.FuncType("II", ""), w.FuncType("I", "i"), w.FuncType("Ii", ""), w.FuncType("", "i")),
		w.Imports(host("input_load_u64", 0), host("store_u64", 1), host("alloc", 0), host("output_set", 1), host("load_u64", 0),
			host("load_u8", 2), host("store_u8", 3), host("input_load_u64", 0), host("store_u64", 1)),
		w.Funcs(4), w.Tables(w.Table("r", w.Limits(1, 1))), w.Exports(w.Export("f", 0, imports)),
		w.Elements(w.Cat([]byte{0, opI32Const, 0, opEnd}, w.Vec(w.U32(impStore)))),
		w.Code(w.Body("I", m.code...))), m
}

// requireMoved runs a program twice on one instance, with two inputs.
func requireMoved(t *testing.T, sb *sandbox.Sandbox, program, input []byte, reuse bool) {
	t.Helper()
	other := make([]byte, len(input))
	for i, b := range input {
		other[i] = ^b
	}
	wasm, first := moverOf(program, input)
	same, second := moverOf(program, other)
	require.Equal(t, wasm, same)
	parsed, err := inspect.Parse(wasm, inspect.Limits{})
	require.NoError(t, err)
	m, err := sb.Compile(t.Context(), sandbox.Source{Wasm: wasm, Module: parsed, Limits: limits(), Reuse: reuse})
	require.NoError(t, err)
	defer m.Close()
	for _, want := range []*mover{first, second, first} {
		res, err := m.Call(t.Context(), sandbox.Call{Export: "f", Input: want.input})
		if want.outside {
			require.ErrorIs(t, err, status.ErrInternal)
			require.ErrorContains(t, err, "outside Extism's memory")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want.arena[arenaFirst:], res.Output)
	}
}

// Blocks of the initialisation are gone when the first call begins, as they are for the calls after it.
func TestBlocksOfTheInitialisationAreGone(t *testing.T) {
	alloc := w.Cat(i64Const(8), []byte{opCall, 0})
	m := compile(t, newSandbox(t, sandbox.Config{}), w.Module(
		w.Types(w.FuncType("I", "I"), w.FuncType("", "i"), w.FuncType("", "")),
		w.Imports(w.ImportFunc("extism:host/env", "alloc", 0)), w.Funcs(2, 1),
		w.Exports(w.Export("_initialize", 0, 1), w.Export("f", 0, 2)),
		w.Code(w.Body("", append(alloc, opDrop)...), w.Body("", w.Cat(alloc, i64Const(arenaFirst), []byte{0x52})...))), limits()) // i64.ne
	for range 3 {
		_, err := m.Call(t.Context(), sandbox.Call{Export: "f"})
		require.NoError(t, err)
	}
}

// Words that are read ahead of the guest, and words that the host stores behind it, are the same words at the same
// offsets, whatever else the guest does in between, and none of another call.
func TestWordsAreMovedAsTheGuestSays(t *testing.T) {
	for _, config := range []sandbox.Config{{}, {Interpreter: true}} {
		sb := newSandbox(t, config)
		outside := 0
		for seed := range uint64(150) {
			r := rand.New(rand.NewPCG(seed, 7))
			bytes := func(n int) []byte {
				b := make([]byte, n)
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				return b
			}
			program, input := bytes(2*r.IntN(120)), bytes(r.IntN(600))
			requireMoved(t, sb, program, input, seed%3 == 0)
			if _, m := moverOf(program, input); m.outside {
				outside++
			}
		}
		require.Positive(t, outside)
		require.Less(t, outside, 100)
	}
}

func FuzzWords(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 2, 0, 6, 0, 6, 0, 11, 0, 6, 0, 13, 0}, []byte("the input of a call"), false)
	f.Add([]byte{4, 9, 0, 0, 0, 0, 15, 255}, []byte{}, true)
	sb, err := sandbox.New(f.Context(), sandbox.Config{Interpreter: true})
	require.NoError(f, err)
	f.Cleanup(func() { _ = sb.Close(f.Context()) })
	f.Fuzz(func(t *testing.T, program, input []byte, reuse bool) {
		if len(program) <= 1000 && len(input) <= 10_000 {
			requireMoved(t, sb, program, input, reuse)
		}
	})
}
