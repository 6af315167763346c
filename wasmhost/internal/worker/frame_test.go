package worker

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/compile"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

func TestMain(m *testing.M) {
	Child(Hooks{Before: misbehaving, Without: leftOut})
	program = compile.Child()
	goleak.VerifyTestMain(m)
}

// program starts this test again as a compiling process or a worker.
var program []string

// aRing is a ring in ordinary memory, and its writer's and its reader's side.
func aRing() (m region, out, in *ring) {
	m = make(region, regionBytes)
	return m, m.ring(0), m.ring(0)
}

func TestARingCarriesFramesOfEverySizeAroundItsEnd(t *testing.T) {
	_, out, in := aRing()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // sizes
	for i := range 3000 {
		payload := bytes.Repeat([]byte{byte(i)}, random.IntN(maxFrame+1))
		h := header{size: uint32(len(payload)), kind: kindCall, slot: uint16(i % slots), gen: uint32(i), total: uint32(len(payload))}
		ok, err := out.write(&h, payload)
		require.NoError(t, err)
		require.True(t, ok)
		got, body, ok, err := in.read()
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, h, got)
		require.True(t, bytes.Equal(payload, body))
	}
	_, _, ok, err := in.read()
	require.NoError(t, err)
	require.False(t, ok, "it is empty")
}

func TestAFullRingTakesNoMore(t *testing.T) {
	_, out, in := aRing()
	h := header{size: maxFrame, kind: kindCall, total: maxFrame}
	n := 0
	for ; ; n++ {
		ok, err := out.write(&h, make([]byte, maxFrame))
		require.NoError(t, err)
		if !ok {
			break
		}
	}
	assert.Equal(t, ringBytes/int(aligned(maxFrame)), n)
	_, _, ok, err := in.read()
	require.NoError(t, err)
	require.True(t, ok)
	ok, err = out.write(&h, make([]byte, maxFrame))
	require.NoError(t, err)
	assert.True(t, ok, "there is room again")
}

// The peer may write anything into the mapping.
func TestPositionsThatCantBeEndTheConnection(t *testing.T) {
	for name, forge := range map[string]func(m region){
		"more than the ring holds": func(m region) { m.word(tailAt).Store(ringBytes + 16) },
		"behind what was read":     func(m region) { m.word(tailAt).Store(^uint64(0) - 15) },
		"less than a header":       func(m region) { m.word(tailAt).Store(8) },
		"a frame longer than is there": func(m region) {
			(&header{size: 100, kind: kindCall, total: 100}).put(m[ringsAt:])
			m.word(tailAt).Store(16)
		},
		"a kind that is none": func(m region) { m.word(tailAt).Store(16) },
	} {
		t.Run(name, func(t *testing.T) {
			m, _, in := aRing()
			forge(m)
			_, _, _, err := in.read()
			require.ErrorIs(t, err, errFrame)
		})
	}
	m, out, _ := aRing()
	m.word(headAt).Store(1 << 40)
	_, err := out.write(&header{size: 1, kind: kindCall, total: 1}, []byte{1})
	require.ErrorIs(t, err, errFrame)
}

// For any bytes in the ring, reading it ends, and returns no more than the ring holds.
func FuzzRing(f *testing.F) {
	f.Add(make([]byte, 64), uint64(64))
	f.Add(bytes.Repeat([]byte{0xff}, 64), uint64(16))
	f.Fuzz(func(t *testing.T, content []byte, tail uint64) {
		m, _, in := aRing()
		copy(m[ringsAt:], content)
		m.word(tailAt).Store(tail)
		l := newLink(context.Background(), nil)
		l.inboxes[0].Store(&inbox{})
		l.most = func(*inbox, kind) int { return 1 << 20 }
		for range 2 * ringBytes / 16 {
			h, body, ok, err := in.read()
			if err != nil || !ok {
				return
			}
			require.LessOrEqual(t, len(body), maxFrame)
			if _, err := l.handle(h, body); err != nil {
				return
			}
		}
		t.Fatal("it does not end")
	})
}

func encoded(m interface{ write(*writer) }) []byte {
	var w writer
	m.write(&w)
	return w.b
}

// No message of the peer's panics or reads beyond its end.
func FuzzMessages(f *testing.F) {
	for _, m := range []interface{ write(*writer) }{
		&callMessage{module: 1, export: "f", input: []byte("1")}, &resultMessage{hasOutput: true, output: []byte("1")},
		&resultMessage{err: &resultError{err: status.Publicf(status.NotFound, "x").WithDetails(1)}},
		&hostMessage{number: 1, op: hostDo, capability: abi.CapNow}, &answerMessage{number: 1, value: []byte("1")},
		&answerMessage{err: status.Errorf(status.Internal, "x")},
	} {
		f.Add(encoded(m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []interface{ decode([]byte) error }{&callMessage{}, &resultMessage{}, &hostMessage{}, &answerMessage{}} {
			_ = m.decode(b)
		}
		var r resultMessage
		if r.decode(b) == nil && r.err != nil {
			e := status.Convert(r.err.err)
			require.LessOrEqual(t, len(e.Message), maxErrorText)
			require.NotEqual(t, status.OK, e.Code)
		}
		_, _, _ = decodeOrder(b)
	})
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	call := &callMessage{module: 7, streams: true, nexts: true, logs: true, maxOutput: 9, export: "f", context: []byte("{}"), input: []byte("in")}
	got := &callMessage{}
	require.NoError(t, got.decode(encoded(call)))
	assert.Equal(t, call, got)
	res := &resultMessage{usageBegan: -1, usageFuel: 1, usageBytes: 2, account: share.Report{Number: 9, Now: 3, Most: 4}, processBytes: 5, fuel: 6, memory: 7, hasOutput: true, output: []byte("out")}
	gotRes := &resultMessage{}
	require.NoError(t, gotRes.decode(encoded(res)))
	assert.Equal(t, res, gotRes)
	require.Error(t, gotRes.decode(append(encoded(res), 0)), "a byte too many")
	require.Error(t, gotRes.decode(encoded(res)[:20]), "bytes too few")
}

func TestErrorsKeepWhatCountsAndAreCleaned(t *testing.T) {
	for name, err := range map[string]error{
		"public":     status.Publicf(status.NotFound, "no \x1b[31mred").WithDetails(map[string]int{"a": 1}),
		"private":    status.Errorf(status.Internal, "inner"),
		"silent":     status.Publicf(status.Internal, "silent").WithCause(abi.ErrSilent),
		"the host's": &fromHostError{status.Publicf(status.Unavailable, "later").WithRetryAfter(3e9)},
	} {
		t.Run(name, func(t *testing.T) {
			var w writer
			writeError(&w, err)
			r := reader{b: w.b}
			got, marks := readError(&r)
			require.NoError(t, r.end())
			want := status.Convert(err)
			assert.Equal(t, want.Code, got.Code)
			assert.Equal(t, want.Public(), got.Public())
			assert.Equal(t, want.Details, got.Details)
			assert.Equal(t, want.RetryAfter, got.RetryAfter)
			assert.NotContains(t, got.Message, "\x1b")
			assert.Equal(t, name == "silent", bytes.Contains([]byte(name), []byte("silent")) && marks&markSilent != 0)
			assert.Equal(t, name == "the host's", marks&markHost != 0)
		})
	}
}

// A worker may say more than once that a call has ended, or go on with one that has: the
// receiver neither blocks nor believes it.
func TestDoubledAndLateMessagesBlockNobody(t *testing.T) {
	l := newLink(context.Background(), nil)
	in := &inbox{slot: 3, gen: 7}
	l.inboxes[3].Store(in)
	l.most = func(*inbox, kind) int { return 1 << 20 }
	result := header{kind: kindResult, slot: 3, gen: 7}
	for range 2 {
		_, err := l.handle(result, nil)
		require.NoError(t, err)
	}
	late := result
	late.gen = 6
	_, err := l.handle(late, nil)
	require.NoError(t, err)
	m, err := l.await(context.Background(), in)
	require.NoError(t, err)
	assert.Equal(t, kindResult, m.kind)
	for range maxQueued + 1 {
		if _, err = l.handle(result, nil); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, errFrame, "a flood ends the connection")
	n := 0
	for err = nil; err == nil && n < 1<<20; n++ {
		_, err = l.handle(late, nil)
	}
	require.ErrorIs(t, err, errFrame, "so does one of what belongs to no call")
	require.Greater(t, n, maxHandles, "but files are closed late")
}

// That a guest waits is said by a timer, which may run while a long message of the same call is sent.
func TestWaitingIsSaidBetweenThePiecesOfAMessage(t *testing.T) {
	l := newLink(context.Background(), nil)
	l.most = func(_ *inbox, k kind) int { return map[kind]int{kindHost: 30, kindLeave: 16}[k] }
	left := 0
	in := &inbox{slot: 1, gen: 1, leave: func([]byte) error { left++; return nil }}
	l.inboxes[1].Store(in)
	frame := func(k kind, size, total uint32, more bool) error {
		_, err := l.handle(header{kind: k, slot: 1, gen: 1, size: size, total: total, more: more}, make([]byte, size))
		return err
	}
	require.NoError(t, frame(kindHost, 10, 30, true))
	require.NoError(t, frame(kindLeave, 8, 8, false))
	require.NoError(t, frame(kindHost, 10, 30, true))
	require.NoError(t, frame(kindHost, 10, 30, false))
	m, err := l.await(context.Background(), in)
	require.NoError(t, err)
	assert.Len(t, m.body, 30)
	assert.Equal(t, 1, left)
	assert.ErrorIs(t, frame(kindLeave, 17, 17, false), errFrame, "it is bounded")
}

func TestMessagesInPiecesHaveToFit(t *testing.T) {
	l := newLink(context.Background(), nil)
	l.most = func(*inbox, kind) int { return 100 }
	frame := func(k kind, size, total uint32, more bool) error {
		_, err := l.handle(header{kind: k, slot: 1, gen: 1, size: size, total: total, more: more}, make([]byte, size))
		return err
	}
	for name, frames := range map[string]func() error{
		"longer than may come":  func() error { return frame(kindChunk, 10, 101, true) },
		"shorter than it says":  func() error { return frame(kindChunk, 10, 20, false) },
		"another kind goes on":  func() error { _ = frame(kindChunk, 10, 20, true); return frame(kindHost, 10, 20, false) },
		"more than was said":    func() error { _ = frame(kindChunk, 10, 20, true); return frame(kindChunk, 11, 20, false) },
		"pieces without bytes":  func() error { _ = frame(kindChunk, 10, 20, true); return frame(kindChunk, 0, 20, true) },
		"an end before the end": func() error { _ = frame(kindChunk, 10, 20, true); return frame(kindChunk, 5, 20, false) },
	} {
		t.Run(name, func(t *testing.T) {
			l.inboxes[1].Store(&inbox{slot: 1, gen: 1})
			require.ErrorIs(t, frames(), errFrame)
		})
	}
	l.inboxes[1].Store(&inbox{slot: 1, gen: 1})
	require.NoError(t, frame(kindChunk, 10, 20, true))
	require.NoError(t, frame(kindChunk, 10, 20, false))
	m, ok := l.inboxes[1].Load().pop()
	require.True(t, ok)
	assert.Len(t, m.body, 20)
}

func TestAHeaderIsCheckedWhole(t *testing.T) {
	good := make([]byte, headerBytes)
	(&header{size: 5, kind: kindChunk, slot: 9, gen: 8, total: 5}).put(good)
	_, err := parseHeader(good)
	require.NoError(t, err)
	for name, spoil := range map[string]func(b []byte){
		"kind 0":        func(b []byte) { b[4] = 0 },
		"kind beyond":   func(b []byte) { b[4] = byte(kinds) },
		"flags":         func(b []byte) { b[5] = 2 },
		"slot":          func(b []byte) { binary.LittleEndian.PutUint16(b[6:], slots) },
		"size":          func(b []byte) { binary.LittleEndian.PutUint32(b[0:], maxFrame+1) },
		"total":         func(b []byte) { binary.LittleEndian.PutUint32(b[12:], maxMessage+1) },
		"more than all": func(b []byte) { binary.LittleEndian.PutUint32(b[12:], 4) },
	} {
		b := bytes.Clone(good)
		spoil(b)
		_, err := parseHeader(b)
		require.ErrorIs(t, err, errFrame, name)
	}
}

var _ = os.Args // the worker's hooks are in misbehave_test.go
