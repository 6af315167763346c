// Package recording keeps one call of a guest with all that crossed its border, and runs it again: what the guest asked and
// was answered, the random bytes and times it got, and what it emitted, logged and returned.
//
//	rec := &recording.Recording{Version: recording.Version, Module: m, Input: input, Start: recording.NewStart()}
//	tape := recording.NewTape(rec)          // the host of rec.Start makes the call under intercept.With(ctx, tape.Begin)
//	raw, err := tape.Encode()
//
//	rec, err := recording.Parse(raw)
//	player := recording.NewPlayer(rec, end) // another host of rec.Start makes it again, under player.Begin
//	difference := player.Difference()
//
// It holds what the guest saw, so a secret is in it as a reference and never as its value. Input, caller's context and policy
// are in it as they are.
package recording

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/intercept"
)

// Bounds and forms.
const (
	// Version is the form of recordings that this package writes and reads.
	Version = 1
	// MaxBytes bounds the bytes of a recording's events, and MaxEvents their number.
	MaxBytes  = 16 << 20
	MaxEvents = 100_000
	// MaxFile bounds a file of a recording: what it holds is base64 or indented JSON.
	MaxFile = 8 * MaxBytes
)

// Recording is a call, as JSON.
type Recording struct {
	Version int    `json:"recording"`
	Module  Module `json:"module"`
	Action  string `json:"action"`            // its key, such as /tool/textkit/slugify
	Input   Bytes  `json:"input,omitempty"`   // of the action
	Context Bytes  `json:"context,omitempty"` // the caller's, an object
	Start   Start  `json:"start"`
	// Events stand in their order.
	Events []Event `json:"events"`
	Ended  Ended   `json:"ended"` // what the guest gave
	// Result is what the caller got of it, as JSON; nothing when the call failed or was interrupted.
	Result Bytes `json:"result,omitempty"`
}

// Module says what was called.
type Module struct {
	Name       string          `json:"name"`
	File       string          `json:"file"`                 // where it was
	Digest     string          `json:"digest"`               // of its bytes
	Descriptor json.RawMessage `json:"descriptor,omitempty"` // where it came beside the module
	Policy     json.RawMessage `json:"policy,omitempty"`
}

// Event is one thing that crossed the border: the first of its fields that is set says which.
type Event struct {
	Ask    string   `json:"ask,omitempty"`    // a capability, or http_request of Extism
	Random []byte   `json:"random,omitempty"` // base64
	Clock  *Reading `json:"clock,omitempty"`
	Chunk  Bytes    `json:"chunk,omitempty"`
	Log    *Line    `json:"log,omitempty"`

	// Of Ask.
	Request Bytes   `json:"request,omitempty"`
	Body    Bytes   `json:"body,omitempty"` // of http_request
	Answer  Bytes   `json:"answer,omitempty"`
	Error   *Error  `json:"error,omitempty"`
	Fetched *Answer `json:"fetched,omitempty"` // in the place of Answer, of http_request
}

// Reading is what a clock of WASI showed.
type Reading struct {
	ID  uint32 `json:"id"`  // 0 is the time of day, 1 the monotonic clock
	Now int64  `json:"now"` // nanoseconds
}

// Line is a log line.
type Line struct {
	Level string `json:"level"`
	Text  string `json:"text"`
}

// Answer is that to an http_request.
type Answer struct {
	Status  int   `json:"status"`
	Headers Bytes `json:"headers"`
	Body    Bytes `json:"body,omitempty"`
}

// Error is a failure: a status and the message that may be shown.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Ended is how the call ended.
type Ended struct {
	Output    Bytes  `json:"output,omitempty"`
	Interrupt Bytes  `json:"interrupt,omitempty"` // its metadata; true when it has none
	Error     *Error `json:"error,omitempty"`
	Fuel      int64  `json:"fuel"`
}

// Start is what the initialisation of the module takes for random, and for the time.
type Start struct {
	Seed []byte    `json:"seed"` // 32 bytes
	Time time.Time `json:"time"`
}

// NewStart makes one of its own for a recording.
func NewStart() Start {
	s := Start{Seed: make([]byte, 32), Time: time.Now().UTC()}
	_, _ = rand.Read(s.Seed) // which does not fail
	return s
}

// Sources gives the sources of one initialisation.
func (s Start) Sources() intercept.Sources {
	return &started{mathrand.NewChaCha8([32]byte(s.Seed)), s.Time.UnixNano()}
}

type started struct {
	random *mathrand.ChaCha8
	now    int64
}

func (s *started) Random(p []byte) error {
	_, err := s.random.Read(p)
	return err
}

// Clock stands still, the monotonic clock at a second.
func (s *started) Clock(clock uint32, _ int64) int64 {
	if clock == 0 {
		return s.now
	}
	return int64(time.Second)
}

// Bytes are any bytes. In JSON they stand as the value that they are, when they are JSON without white space, and as
// {"base64": "…"} when not, so that reading gives what was written, byte for byte.
type Bytes []byte

// MarshalJSON implements [json.Marshaler].
func (b Bytes) MarshalJSON() ([]byte, error) {
	if len(b) > 0 && plain(b) {
		return b, nil
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(b)})
}

// plain reports whether b stands for itself.
func plain(b []byte) bool {
	if schema.Check(b) != nil || schema.CheckUnique(b) != nil {
		return false
	}
	var compact bytes.Buffer
	if json.Compact(&compact, b) != nil || !bytes.Equal(compact.Bytes(), b) {
		return false
	}
	_, coded := decode(b)
	return !coded
}

// decode reads the form with base64.
func decode(b []byte) (raw []byte, ok bool) {
	var members map[string]json.RawMessage
	if b[0] != '{' || json.Unmarshal(b, &members) != nil || len(members) != 1 {
		return nil, false
	}
	var text string
	if json.Unmarshal(members["base64"], &text) != nil {
		return nil, false
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	return raw, err == nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (b *Bytes) UnmarshalJSON(text []byte) error {
	if raw, ok := decode(text); ok {
		*b = raw
		return nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return err
	}
	*b = compact.Bytes()
	return nil
}

// Parse reads a recording and checks its form.
func Parse(raw []byte) (*Recording, error) {
	if len(raw) > MaxFile {
		return nil, fmt.Errorf("a recording of %d bytes, more than %d", len(raw), MaxFile)
	}
	r := &Recording{}
	if err := schema.Decode(raw, r, schema.RefuseUnknown); err != nil {
		return nil, fmt.Errorf("not a recording: %w", err)
	}
	switch {
	case r.Version != Version:
		return nil, fmt.Errorf("a recording of form %d, want %d", r.Version, Version)
	case len(r.Start.Seed) != 32:
		return nil, errors.New("not a recording: start.seed is not 32 bytes")
	case len(r.Events) > MaxEvents:
		return nil, fmt.Errorf("a recording of %d events, more than %d", len(r.Events), MaxEvents)
	}
	for i := range r.Events {
		if r.Events[i].kind() == "" {
			return nil, fmt.Errorf("not a recording: event %d says nothing", i+1)
		}
	}
	return r, nil
}

// kind is what an event is, in a word.
func (e *Event) kind() string {
	switch {
	case e.Ask != "":
		return e.Ask
	case e.Random != nil:
		return "random"
	case e.Clock != nil:
		return "clock"
	case e.Chunk != nil:
		return "chunk"
	case e.Log != nil:
		return "log"
	}
	return ""
}

// size estimates the bytes that an event takes.
func (e *Event) size() int {
	n := 64 + len(e.Request) + len(e.Body) + len(e.Answer) + len(e.Random) + len(e.Chunk)
	if e.Error != nil {
		n += len(e.Error.Message)
	}
	if e.Fetched != nil {
		n += len(e.Fetched.Headers) + len(e.Fetched.Body)
	}
	if e.Log != nil {
		n += len(e.Log.Text)
	}
	return n
}

// asked is the part of an event that the guest decides.
func (e Event) asked() Event {
	e.Answer, e.Error, e.Fetched = nil, nil, nil
	if e.Random != nil {
		e.Random = make([]byte, len(e.Random))
	}
	if e.Clock != nil {
		e.Clock = &Reading{ID: e.Clock.ID}
	}
	return e
}

// String is an event on one line of JSON.
func (e Event) String() string {
	if e.kind() == "random" {
		return fmt.Sprintf(`{"random":%d bytes}`, len(e.Random))
	}
	return encode(e)
}

// encode writes JSON in which no character is escaped that need not be.
func encode(v any) string {
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	w.SetEscapeHTML(false)
	if err := w.Encode(v); err != nil {
		return err.Error()
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// errorOf is a failure as its guest or its caller may see it; nil for none.
func errorOf(err error) *Error {
	if err == nil {
		return nil
	}
	wire := status.ToWire(err, false)
	return &Error{wire.Status, wire.Message}
}

// again makes the failure that was recorded.
func (e *Error) again() error {
	code, known := status.Parse(e.Code)
	if !known || code == status.OK {
		code = status.Unknown
	}
	return status.Publicf(code, "%s", e.Message)
}

// ended is how a call ended, as it is recorded.
func ended(o intercept.Outcome) Ended {
	e := Ended{Fuel: o.Fuel, Error: errorOf(o.Err)}
	switch {
	case o.Err != nil:
	case o.Interrupted:
		if e.Interrupt = Bytes(o.Interrupt); o.Interrupt == nil {
			e.Interrupt = Bytes("true")
		}
	default:
		e.Output = bytes.Clone(o.Output)
	}
	return e
}
