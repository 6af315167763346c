package access_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

// dear is an authenticator that knows one token, which it looks at only when it may take its
// time, and one that costs nothing.
type dear struct{ looked int }

func (d *dear) Authenticate(_ context.Context, c access.Credentials) (*access.Identity, error) {
	switch {
	case c.Token == "cheap":
		return &access.Identity{Subject: "cheap"}, nil
	case c.Token == "down":
		return nil, status.Publicf(status.Unavailable, "down")
	case c.Quick:
		return nil, status.Publicf(status.Unauthenticated, "not now")
	}
	d.looked++
	if c.Token == "dear" {
		return &access.Identity{Subject: "dear"}, nil
	}
	return nil, status.Publicf(status.Unauthenticated, "unknown")
}

func TestFailedAttemptsAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &dear{}
		throttle := access.NewThrottle(access.ThrottleConfig{Next: next})
		try := func(token, from string) error {
			addr, _ := netip.ParseAddr(from)
			_, err := throttle.Authenticate(t.Context(), access.Credentials{Token: token, From: addr})
			return err
		}
		for range 100 {
			require.NoError(t, try("dear", "198.51.100.1"), "what is good is not counted")
			require.ErrorIs(t, try("down", "198.51.100.1"), status.ErrUnavailable, "what can't be told is not")
		}
		next.looked = 0
		for range 10 {
			require.ErrorIs(t, try("bad", "198.51.100.1"), status.ErrUnauthenticated)
		}
		var answers []*status.Error
		for _, token := range []string{"bad", "dear", "worse", ""} {
			answers = append(answers, status.Convert(try(token, "198.51.100.1")))
		}
		assert.Equal(t, 10, next.looked, "nothing more is looked at that costs much")
		for _, err := range answers {
			require.ErrorIs(t, err, status.ErrResourceExhausted)
			assert.Equal(t, 6*time.Second, err.RetryAfter)
			assert.True(t, err.Public())
			assert.Equal(t, answers[0].Message, err.Message, "all get one answer")
		}
		require.NoError(t, try("cheap", "198.51.100.1"), "a good key goes on to work")
		require.NoError(t, try("dear", "198.51.100.2"), "another source")
		require.ErrorIs(t, try("bad", "::ffff:198.51.100.1"), status.ErrResourceExhausted, "the same in other clothes")
		time.Sleep(5 * time.Second) // in a bubble
		require.ErrorIs(t, try("bad", "198.51.100.1"), status.ErrResourceExhausted)
		time.Sleep(2 * time.Second)
		require.ErrorIs(t, try("bad", "198.51.100.1"), status.ErrUnauthenticated, "one more after six seconds")
		require.ErrorIs(t, try("bad", "198.51.100.1"), status.ErrResourceExhausted)
		time.Sleep(time.Minute)
		require.NoError(t, try("dear", "198.51.100.1"))

		for i := range 10 { // all of one network of IPv6
			addr := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, byte(i), 1})
			require.ErrorIs(t, try("bad", addr.String()), status.ErrUnauthenticated)
		}
		require.ErrorIs(t, try("bad", "2001:db8:0:1:ffff::1"), status.ErrResourceExhausted)
		require.ErrorIs(t, try("bad", "2001:db8:0:2::1"), status.ErrUnauthenticated, "another network")
		for range 10 {
			require.ErrorIs(t, try("bad", "unknown"), status.ErrUnauthenticated)
		}
		require.ErrorIs(t, try("bad", ""), status.ErrResourceExhausted, "those that are unknown are one source")
	})
}

func TestTheThrottleIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := access.NewThrottle(access.ThrottleConfig{Next: &dear{}, MaxSources: 100})
		fail := func(n int) error {
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], uint32(n)) //nolint:gosec // small
			_, err := throttle.Authenticate(t.Context(), access.Credentials{Token: "bad", From: netip.AddrFrom4(b)})
			return err
		}
		for n := range 100 {
			require.ErrorIs(t, fail(n), status.ErrUnauthenticated)
		}
		for n := range 10 {
			require.ErrorIs(t, fail(1000+n), status.ErrUnauthenticated)
		}
		require.ErrorIs(t, fail(5000), status.ErrResourceExhausted, "those beyond share one count")
		require.ErrorIs(t, fail(1), status.ErrUnauthenticated, "the others have their own")
		for n := range 100_000 {
			_ = fail(10_000 + n)
		}
		assert.LessOrEqual(t, throttle.Sources(), 100)
		time.Sleep(time.Hour) // in a bubble
		for n := range 100 {
			require.ErrorIs(t, fail(200_000+n), status.ErrUnauthenticated, "old ones make room")
		}
		assert.LessOrEqual(t, throttle.Sources(), 100)
	})
}
