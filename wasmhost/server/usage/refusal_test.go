package usage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// told is a sink that keeps what it gets, or fails while it is down.
type told struct {
	mu   sync.Mutex // guards the fields below
	down bool
	got  []usage.Event
}

func (s *told) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *told) events() []usage.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *told) Send(_ context.Context, events []json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errors.New("the receiver is away")
	}
	for _, raw := range events {
		e, err := usage.Decode(raw)
		if err != nil {
			return err
		}
		s.got = append(s.got, e)
	}
	return nil
}

// of counts events and sums up what they stand for.
func (s *told) of(kind usage.Kind) (events, calls int64) {
	for _, e := range s.events() {
		if e.Kind == kind {
			events++
			calls += e.Count
		}
	}
	return events, calls
}

var (
	errTooOften = status.Publicf(status.ResourceExhausted, "the tenant has made its 5 calls").WithDetails(map[string]string{"quota": "callsPerMinute"})
	errSpent    = status.Publicf(status.ResourceExhausted, "the tenant has used its budget").WithDetails(map[string]any{"budget": "tokensPerDay", "freeAt": "2030-01-01"})
)

// Refusals of a minute are one event, and none of their number is lost.
func TestAFloodOfRefusalsIsOneEventAMinute(t *testing.T) {
	for name, dir := range map[string]string{"on disk": t.TempDir(), "in memory": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &told{}
				b := open(t, usage.Config{Dir: dir, Sinks: []usage.Target{{Name: "bills", Sink: s}}})
				began := time.Now()
				flood := 100_000
				if dir == "" {
					flood = 5000
				}
				for i := range flood {
					if i%1000 == 0 {
						countTools(b, i, i+1)
					}
					b.Refuse("acme", "1", errTooOften)
				}
				b.Refuse("acme", "1", errSpent)
				b.Refuse("globex", "2", errTooOften)
				time.Sleep(time.Second)
				synctest.Wait()
				events, _ := s.of(usage.Tool)
				assert.EqualValues(t, flood/1000, events, "real calls have their events at once")
				events, _ = s.of(usage.Refused)
				assert.Zero(t, events, "the minute is not over")
				time.Sleep(time.Minute)
				synctest.Wait()
				events, calls := s.of(usage.Refused)
				assert.EqualValues(t, 3, events)
				assert.EqualValues(t, flood+2, calls)
				byReason := map[string]usage.Event{}
				ids := map[string]bool{}
				for _, e := range s.events() {
					byReason[e.Tenant+" "+e.Name] = e
					ids[e.ID] = true
				}
				assert.Len(t, ids, len(s.events()))
				e := byReason["acme quota.callsPerMinute"]
				assert.EqualValues(t, flood, e.Count)
				assert.Equal(t, status.ResourceExhausted, e.Code)
				assert.Equal(t, "1", e.TenantID)
				assert.True(t, e.Since.Equal(began), "%v", e.Since)
				assert.True(t, e.Time.Equal(began.Add(time.Minute)), "%v", e.Time)
				assert.EqualValues(t, 1, byReason["acme budget.tokensPerDay"].Count)
				assert.EqualValues(t, flood/1000, report(t, b, "", usage.Query{}).Total.Calls, "the sums have the calls that ran")
				b.Refuse("acme", "1", errTooOften)
				require.NoError(t, b.Close())
				_, calls = s.of(usage.Refused)
				assert.EqualValues(t, flood+3, calls, "the last ones go out at the end")
			})
		})
	}
}

// While a receiver is away, refusals take no place of real calls' events and no more of the disk than
// their own queue has.
func TestRefusalsCrowdOutNoCalls(t *testing.T) {
	for name, inMemory := range map[string]bool{"on disk": false, "in memory": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dir := &told{down: true}, t.TempDir()
				var log syncBuffer
				b := open(t, usage.Config{
					Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil)),
					Sinks: []usage.Target{{Name: "bills", Sink: s, QueueBytes: 2 * usage.SegmentBytes, InMemory: inMemory}},
				})
				const calls = 500
				countTools(b, 0, calls)
				for minute := range 4 { // a minute's events fill more than a segment
					for i := range 4000 {
						b.Refuse(fmt.Sprintf("t%d-%d", minute, i), "1", errTooOften)
					}
					time.Sleep(time.Minute)
					synctest.Wait()
				}
				r := b.Sinks()[0]
				assert.EqualValues(t, calls, r.Queued)
				assert.Zero(t, r.Dropped)
				assert.Positive(t, r.RefusalsDropped)
				assert.Positive(t, r.RefusalsQueued)
				var stored int64
				require.NoError(t, filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
					if err == nil && !info.IsDir() {
						stored += info.Size()
					}
					return err
				}))
				assert.Less(t, stored, int64(6*usage.SegmentBytes))
				assert.Equal(t, 1, strings.Count(log.String(), "is full"), "one line says so")
				s.setDown(false)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				events, _ := s.of(usage.Tool)
				assert.EqualValues(t, calls, events)
				events, _ = s.of(usage.Refused)
				assert.Equal(t, r.RefusalsQueued, events)
				assert.Equal(t, usage.Tool, s.events()[calls-1].Kind, "calls come first")
				assert.Zero(t, b.Sinks()[0].RefusalsQueued)
			})
		})
	}
}

// Tenants beyond those that are counted apart are counted together.
func TestRefusalsOfManyTenantsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &told{}
		b := open(t, usage.Config{Sinks: []usage.Target{{Name: "bills", Sink: s, QueueBytes: 64 << 20}}})
		const flood = usage.MaxRefusalKeys + 5000
		for i := range flood {
			b.Refuse(fmt.Sprintf("t%d", i), "1", status.Publicf(status.Unavailable, "the machine is busy"))
		}
		require.NoError(t, b.Close())
		var other int64
		for _, e := range s.events() {
			if e.Tenant == usage.Other {
				other = e.Count
			}
		}
		assert.EqualValues(t, flood-usage.MaxRefusalKeys, other)
	})
}

func TestReasonsAreWords(t *testing.T) {
	for want, err := range map[string]error{
		"quota.callsPerMinute": errTooOften,
		"budget.tokensPerDay":  fmt.Errorf("the model: %w", errSpent),
		"suspended":            status.Publicf(status.PermissionDenied, "the tenant is suspended").WithDetails(map[string]string{"state": "suspended"}),
		"denied":               status.Publicf(status.PermissionDenied, "the tenant may not use the model"),
		"notFound":             status.Publicf(status.NotFound, "no such tool"),
		"invalid":              status.Publicf(status.InvalidArgument, "want an object"),
		"limit":                status.Publicf(status.ResourceExhausted, "the queue is full"),
		"unavailable":          status.Publicf(status.Unavailable, "no worker"),
		"other":                errors.New("anything"),
	} {
		assert.Equal(t, want, usage.ReasonOf(err))
	}
	for _, details := range []string{`{"quota":"a b"}`, `{"quota":"` + strings.Repeat("q", 41) + `"}`, `{"quota":""}`, `[]`, `{"quota":7}`} {
		err := status.Publicf(status.ResourceExhausted, "made up").WithDetails(json.RawMessage(details))
		assert.Equal(t, "limit", usage.ReasonOf(err), details)
	}
}

type refusing struct{}

func (refusing) Reserve(context.Context, string) (func(allowance.Use), error) { return nil, errSpent }

func TestAModelCallThatABudgetRefusesIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &told{}
		b := open(t, usage.Config{Sinks: []usage.Target{{Name: "bills", Sink: s}}})
		ctx, noted := tenant.WithNote(t.Context())
		_, err := b.Payer("acme", "1", "key:a", refusing{}).Reserve(ctx, "test/m")
		require.ErrorIs(t, err, status.ErrResourceExhausted)
		assert.True(t, noted.Load(), "whoever answers the request counts it no more")
		require.NoError(t, b.Close())
		require.Len(t, s.events(), 1)
		assert.Equal(t, "budget.tokensPerDay", s.events()[0].Name)
		assert.Empty(t, s.events()[0].Caller)
	})
}
