package profiling

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

const (
	profileSeconds = 30       // of a CPU profile whose request says nothing
	traceSeconds   = 1        // of a trace
	maxSeconds     = 300      // of either
	maxBytes       = 64 << 20 // of a profile, which is kept until it is whole
	atATime        = 2
)

// known reports whether there is a profile of a name; "" is their list.
func known(name string) bool {
	return name == "" || name == "profile" || name == "trace" || pprof.Lookup(name) != nil
}

// query is what a request says about its profile.
type query struct{ seconds, debug, gc int }

// parse reads the query of a request for a profile, which takes what that profile has and nothing else.
func parse(name, raw string) (q query, err error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, status.Publicf(status.InvalidArgument, "the query can't be read")
	}
	number := func(name string, least, most, unset int) (n int) {
		if n = unset; values.Has(name) && err == nil {
			var wrong error
			if n, wrong = strconv.Atoi(values.Get(name)); wrong != nil || n < least || n > most {
				err = status.Publicf(status.InvalidArgument, "%s: want %d to %d", name, least, most)
			}
		}
		values.Del(name)
		return n
	}
	switch name {
	case "":
	case "profile":
		q.seconds = number("seconds", 1, maxSeconds, profileSeconds)
	case "trace":
		q.seconds = number("seconds", 1, maxSeconds, traceSeconds)
	default:
		q.debug = number("debug", 0, 2, 0)
		if name == "heap" {
			q.gc = number("gc", 0, 1, 0)
		}
	}
	if err == nil && len(values) > 0 {
		err = status.Publicf(status.InvalidArgument, "this takes no parameter %q", abi.Line(slices.Min(slices.Collect(maps.Keys(values))), 64))
	}
	return q, err
}

// profile is one that is whole.
type profile struct {
	content []byte
	text    bool
}

// maker makes profiles, a few at a time. It is safe for concurrent use.
type maker struct{ slots chan struct{} }

func newMaker() *maker { return &maker{slots: make(chan struct{}, atATime)} }

// make makes a profile, until ctx ends. It fails with UNAVAILABLE while others are made.
func (m *maker) make(ctx context.Context, name string, q query) (*profile, error) {
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	default:
		return nil, status.Publicf(status.Unavailable, "other profiles are under way").WithRetryAfter(time.Second)
	}
	b := &bounded{most: maxBytes, full: make(chan struct{})}
	var err error
	text := false
	switch name {
	case "":
		text = true
		list(b)
	case "profile":
		err = during(ctx, q.seconds, b, pprof.StartCPUProfile, pprof.StopCPUProfile)
	case "trace":
		err = during(ctx, q.seconds, b, trace.Start, trace.Stop)
	default:
		if q.gc == 1 {
			runtime.GC()
		}
		text = q.debug > 0
		err = pprof.Lookup(name).WriteTo(b, q.debug)
	}
	out, whole := b.bytes()
	switch {
	case err == nil && whole:
		return &profile{out, text}, nil
	case err == nil || errors.Is(err, errFull):
		err = status.Publicf(status.ResourceExhausted, "the profile is longer than %d bytes; ask for fewer seconds", maxBytes)
	}
	return nil, err
}

// during records for some seconds, or until ctx ends or there is too much.
func during(ctx context.Context, seconds int, b *bounded, start func(w io.Writer) error, stop func()) error {
	if err := start(b); err != nil {
		return status.Publicf(status.Unavailable, "another profile of that kind is under way").WithCause(err).WithRetryAfter(time.Second)
	}
	defer stop()
	timer := time.NewTimer(time.Duration(seconds) * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-b.full:
		return errFull
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// list writes the names of the profiles.
func list(b *bounded) {
	_, _ = fmt.Fprintf(b, "profile?seconds=%d\ntrace?seconds=%d\n", profileSeconds, traceSeconds)
	for _, p := range pprof.Profiles() {
		_, _ = fmt.Fprintf(b, "%s\n", p.Name())
	}
}

var errFull = errors.New("the profile is too long")

// bounded keeps what is written to it, up to most bytes. It is safe for concurrent use.
type bounded struct {
	most int
	full chan struct{} // closed once more came

	mu   sync.Mutex // guards the fields below
	kept bytes.Buffer
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over && b.kept.Len()+len(p) > b.most {
		b.over = true
		close(b.full)
	}
	if b.over {
		return 0, errFull
	}
	return b.kept.Write(p)
}

// bytes returns what was written, and whether it is all of it. Nothing may be written after.
func (b *bounded) bytes() (all []byte, whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kept.Bytes(), !b.over
}
