package worker

import (
	"encoding/json"
	"time"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// callMessage is kindCall: run a function of a module.
type callMessage struct {
	module         uint32
	streams, nexts bool // whether somebody takes chunks; whether there is something to continue
	logs, places   bool
	maxOutput      int64
	export, wit    string
	context, input []byte
}

func (m *callMessage) write(w *writer) {
	w.uint32(m.module)
	w.bool(m.streams)
	w.bool(m.nexts)
	w.bool(m.logs)
	w.bool(m.places)
	w.int64(m.maxOutput)
	w.string(m.export)
	w.string(m.wit)
	w.bytes(m.context)
	w.bytes(m.input)
}

func (m *callMessage) decode(b []byte) error {
	r := reader{b: b}
	m.module, m.streams, m.nexts, m.logs, m.places, m.maxOutput = r.uint32(), r.bool(), r.bool(), r.bool(), r.bool(), r.amount()
	m.export, m.wit, m.context, m.input = r.string(), r.string(), r.bytes(), r.bytes()
	return r.end()
}

// resultMessage is kindResult: the outcome of a call or an order. Times count from the
// arrival of the call.
type resultMessage struct {
	usageBegan            int64 // nanoseconds; -1: it never ran
	usageFuel, usageBytes int64
	account               share.Report // the bytes of the module's account
	processBytes          int64        // the bytes of all of the worker's modules

	err *resultError

	fuel, memory int64
	hasOutput    bool
	interrupted  bool
	output       []byte // or the interrupt's metadata
}

type resultError struct {
	err   error
	marks byte
}

func (m *resultMessage) write(w *writer) {
	for _, v := range [...]int64{m.usageBegan, m.usageFuel, m.usageBytes, m.processBytes} {
		w.int64(v)
	}
	writeReport(w, m.account)
	w.bool(m.err != nil)
	if m.err != nil {
		writeError(w, m.err.err)
		return
	}
	w.int64(m.fuel)
	w.int64(m.memory)
	w.bool(m.hasOutput)
	w.bool(m.interrupted)
	w.bytes(m.output)
}

func (m *resultMessage) decode(b []byte) error {
	r := reader{b: b}
	m.usageBegan = r.int64()
	for _, v := range [...]*int64{&m.usageFuel, &m.usageBytes, &m.processBytes} {
		*v = r.amount()
	}
	m.account = readReport(&r)
	if r.bool() {
		err, marks := readError(&r)
		m.err = &resultError{err, marks}
		return r.end()
	}
	m.fuel, m.memory, m.hasOutput, m.interrupted, m.output = r.amount(), r.amount(), r.bool(), r.bool(), r.bytes()
	return r.end()
}

// reportBytes is the size of a report of an account in a message.
const reportBytes = 24

func writeReport(w *writer, report share.Report) {
	w.int64(int64(report.Number))
	w.int64(report.Now)
	w.int64(report.Most)
}

func readReport(r *reader) share.Report {
	return share.Report{Number: uint64(r.amount()), Now: r.amount(), Most: r.amount()}
}

// Requests of a guest to its host.
const (
	hostDo byte = 1 + iota
	hostFetch
	hostNext
	hostReturn // a place, for a guest that has waited and wants to go on
	hostFile   // an operation on files; the request is a fileRequest
	hostOps
)

// hostMessage is kindHost: something that the server does for the guest.
type hostMessage struct {
	number     uint32 // number of the question within the call; the answer has the same
	op         byte
	left       time.Duration // until the call's deadline; not of next
	capability abi.Capability
	request    []byte
	body       []byte
}

func (m *hostMessage) write(w *writer) {
	w.uint32(m.number)
	w.byte(m.op)
	w.int64(int64(m.left))
	w.string(string(m.capability))
	w.bytes(m.request)
	w.bytes(m.body)
}

func (m *hostMessage) decode(b []byte) error {
	r := reader{b: b}
	m.number, m.op, m.left = r.uint32(), r.byte(), time.Duration(r.int64())
	m.capability, m.request, m.body = abi.Capability(r.string()), r.bytes(), r.bytes()
	r.bad = r.bad || m.op == 0 || m.op >= hostOps
	return r.end()
}

// answerMessage is kindAnswer.
type answerMessage struct {
	number  uint32
	err     error
	status  int64  // of Extism's HTTP answer
	headers []byte // of the same
	value   []byte
	worked  int64 // nanoseconds, see [sandbox.Work]
}

func (m *answerMessage) write(w *writer) {
	w.uint32(m.number)
	w.int64(m.worked)
	w.bool(m.err != nil)
	if m.err != nil {
		writeError(w, m.err)
		return
	}
	w.int64(m.status)
	w.bytes(m.headers)
	w.bytes(m.value)
}

func (m *answerMessage) decode(b []byte) error {
	r := reader{b: b}
	m.number, m.worked = r.uint32(), r.int64()
	if r.bool() {
		m.err, _ = readError(&r)
		return r.end()
	}
	m.status, m.headers, m.value = r.int64(), r.bytes(), r.bytes()
	return r.end()
}

// order is the JSON of kindControl, which the server alone sends; an artifact may follow.
type order struct {
	Op     string      `json:"op"`
	Start  *startOrder `json:"start,omitempty"`
	Load   *loadOrder  `json:"load,omitempty"`
	Module uint32      `json:"module,omitempty"` // of unload and warm
	IdleNS int64       `json:"idleNs,omitempty"` // of evict
	Places bool        `json:"places,omitempty"` // of warm: there is a place to give back
}

const (
	opStart  = "start"
	opLoad   = "load"
	opUnload = "unload"
	opWarm   = "warm"
	opEvict  = "evict"
)

// startOrder makes the worker's sandbox.
type startOrder struct {
	MemoryBytes int64 `json:"memoryBytes"`
	Interpreter bool  `json:"interpreter"`
}

// loadOrder brings a module.
type loadOrder struct {
	Module      uint32              `json:"module"`
	Account     uint32              `json:"account"`
	Quota       share.AccountLimits `json:"quota"`
	Limits      sandbox.Limits      `json:"limits"`
	Clock       bool                `json:"clock"`
	Reuse       bool                `json:"reuse"`
	Interpreter bool                `json:"interpreter"`
	Config      map[string]string   `json:"config,omitempty"`
	Mounts      []string            `json:"mounts,omitempty"` // the paths
	Prepared    *sandbox.Prepared   `json:"prepared"`
	Setup       string              `json:"setup,omitempty"`
	Seed        []byte              `json:"seed,omitempty"`
}

func encodeOrder(o *order, artifact []byte) ([]byte, error) {
	raw, err := json.Marshal(o) //nolint:musttag // sandbox.Prepared is of the same binary on both sides
	if err != nil {
		return nil, err
	}
	w := writer{b: make([]byte, 0, 16+len(raw)+len(artifact))}
	w.bytes(raw)
	w.bytes(artifact)
	return w.b, nil
}

func decodeOrder(b []byte) (*order, []byte, error) {
	r := reader{b: b}
	raw, artifact := r.bytes(), r.bytes()
	if err := r.end(); err != nil {
		return nil, nil, err
	}
	o := &order{}
	return o, artifact, json.Unmarshal(raw, o) //nolint:musttag // see encodeOrder
}
