package access_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

// faulty is a store that fails where it is told to.
type faulty struct {
	access.Store
	put, del fault
}

// fault is what a step fails with. Keys are tidied up while a test goes on.
type fault struct{ err atomic.Pointer[error] }

func (f *fault) is(err error) { f.err.Store(&err) }

func (f *fault) get() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *faulty) Put(ctx context.Context, id string, record []byte) error {
	if err := f.put.get(); err != nil {
		return err
	}
	return f.Store.Put(ctx, id, record)
}

func (f *faulty) Delete(ctx context.Context, id string) error {
	if err := f.del.get(); err != nil {
		return err
	}
	return f.Store.Delete(ctx, id)
}

func openKeys(t testing.TB, store access.Store) *access.Keys {
	t.Helper()
	keys, err := access.OpenKeys(t.Context(), access.KeysConfig{Store: store})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, keys.Close()) })
	return keys
}

func create(t testing.TB, keys *access.Keys, expiresAt time.Time, texts ...string) (access.Key, string) {
	t.Helper()
	key, token, err := keys.Create(t.Context(), access.KeySpec{Name: "test", Scopes: scopes(t, texts...), ExpiresAt: expiresAt})
	require.NoError(t, err)
	return key, token
}

func ask(keys access.Authenticator, token string) (*access.Identity, error) {
	return keys.Authenticate(context.Background(), access.Credentials{Token: token})
}

func TestAKeyLetsInWhoHasItsSecret(t *testing.T) {
	keys := openKeys(t, access.NewMemory())
	key, token := create(t, keys, time.Time{}, "acme:invoke")
	identity, err := ask(keys, token)
	require.NoError(t, err)
	assert.Equal(t, "key:"+key.ID, identity.Subject)
	assert.Equal(t, "test", identity.Name)
	assert.True(t, identity.Scopes.Allows("acme", access.Invoke))
	other, _ := create(t, keys, time.Time{}, "admin")
	var texts []string
	for i := range token { // one character changed, dropped, doubled
		changed := byte('a')
		if token[i] == 'a' {
			changed = 'b'
		}
		texts = append(texts, token[:i]+string(changed)+token[i+1:], token[:i]+token[i+1:], token[:i]+token[i:i+1]+token[i:])
	}
	texts = append(texts, "", "gwk_", strings.ToUpper(token), token+"\n", " "+token, strings.Replace(token, key.ID, other.ID, 1), strings.Repeat("x", 1<<20), "gwk_"+key.ID+"_"+strings.Repeat("\x00", 52))
	for _, text := range texts {
		identity, err := ask(keys, text)
		assert.Nil(t, identity)
		require.ErrorIs(t, err, status.ErrUnauthenticated, "%.100q", text)
		assert.Equal(t, "the key or token is not valid", status.Convert(err).Message, "why is not told")
	}
}

func TestOnlyAHashOfATokenIsStored(t *testing.T) {
	store := access.NewMemory()
	keys := openKeys(t, store)
	_, token := create(t, keys, time.Time{}, "admin")
	seen := 0
	require.NoError(t, store.Load(t.Context(), func(_ string, record []byte, _ error) error {
		seen++
		assert.NotContains(t, string(record), token[21:])
		return nil
	}))
	assert.Equal(t, 1, seen)
	other, _ := create(t, keys, time.Time{}, "admin")
	assert.NotEqual(t, token[4:20], other.ID)
}

func TestKeysOutliveTheirProcess(t *testing.T) {
	store := access.NewMemory()
	keys := openKeys(t, store)
	made, token := create(t, keys, time.Now().Add(time.Hour), "acme:read")
	_, old, err := keys.Rotate(t.Context(), made.ID, 0, time.Time{})
	require.NoError(t, err)
	_, next, err := keys.Rotate(t.Context(), made.ID, time.Hour, time.Time{})
	require.NoError(t, err)
	gone, revoked := create(t, keys, time.Time{}, "admin")
	require.NoError(t, keys.Revoke(t.Context(), gone.ID))
	_, err = ask(keys, next)
	require.NoError(t, err)
	require.NoError(t, keys.Close())
	want, _ := keys.List("", 10)

	again := openKeys(t, store)
	got, _ := again.List("", 10)
	assert.Equal(t, want, got, "the time of last use too")
	assert.False(t, got[0].LastUsedAt.IsZero())
	for secret, good := range map[string]bool{token: false, old: true, next: true, revoked: false} {
		_, err := ask(again, secret)
		assert.Equal(t, good, err == nil)
	}
}

func TestARotatedSecretWorksForTheOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, err := access.OpenKeys(t.Context(), access.KeysConfig{Store: access.NewMemory()})
		require.NoError(t, err)
		defer keys.Close()
		key, first := create(t, keys, time.Now().Add(24*time.Hour), "admin")
		identity, err := ask(keys, first)
		require.NoError(t, err)
		ended := make(chan error, 10)
		identity.Life.OnEnd(func(err error) { ended <- err })

		_, second, err := keys.Rotate(t.Context(), key.ID, time.Hour, time.Time{})
		require.NoError(t, err)
		time.Sleep(59 * time.Minute) // in a bubble
		for _, token := range []string{first, second} {
			_, err := ask(keys, token)
			require.NoError(t, err)
		}
		assert.Empty(t, ended)
		time.Sleep(2 * time.Minute)
		require.ErrorContains(t, <-ended, "rotated", "what runs under the old secret ends with it")
		_, err = ask(keys, first)
		require.ErrorIs(t, err, status.ErrUnauthenticated)
		identity, err = ask(keys, second)
		require.NoError(t, err)
		identity.Life.OnEnd(func(err error) { ended <- err })

		_, third, err := keys.Rotate(t.Context(), key.ID, 0, time.Time{})
		require.NoError(t, err)
		require.ErrorContains(t, <-ended, "rotated", "without an overlap it ends at once")
		_, err = ask(keys, second)
		require.ErrorIs(t, err, status.ErrUnauthenticated)

		_, _, err = keys.Rotate(t.Context(), key.ID, 30*24*time.Hour, time.Time{})
		require.NoError(t, err)
		identity, err = ask(keys, third)
		require.NoError(t, err)
		identity.Life.OnEnd(func(err error) { ended <- err })
		time.Sleep(24 * time.Hour)
		require.ErrorContains(t, <-ended, "expired", "the old secret does not outlive its key")
		_, err = ask(keys, third)
		require.ErrorContains(t, err, "expired")
		got, err := keys.Get(key.ID)
		require.NoError(t, err)
		assert.Equal(t, access.Expired, got.State)

		_, _, err = keys.Rotate(t.Context(), key.ID, 0, time.Time{})
		require.ErrorIs(t, err, status.ErrFailedPrecondition)
		_, fourth, err := keys.Rotate(t.Context(), key.ID, 0, time.Now().Add(time.Hour))
		require.NoError(t, err)
		_, err = ask(keys, fourth)
		require.NoError(t, err)
	})
}

func TestAnOverlapIsKept(t *testing.T) {
	store := access.NewMemory()
	keys := openKeys(t, store)
	key, first := create(t, keys, time.Time{}, "admin")
	identity, err := ask(keys, first)
	require.NoError(t, err)
	rotated, lost, err := keys.Rotate(t.Context(), key.ID, time.Hour, time.Time{})
	require.NoError(t, err)
	again, third, err := keys.Rotate(t.Context(), key.ID, 2*time.Hour, time.Time{})
	require.NoError(t, err, "nobody has used the one before, whose token may be lost")
	assert.Equal(t, rotated.PreviousUntil, again.PreviousUntil, "as it was promised")
	require.NoError(t, identity.Life.Err())
	works := func(keys *access.Keys, want map[string]bool) {
		t.Helper()
		for token, good := range want {
			_, err := ask(keys, token)
			assert.Equal(t, good, err == nil)
		}
	}
	works(keys, map[string]bool{first: true, lost: false, third: true})
	_, _, err = keys.Rotate(t.Context(), key.ID, time.Hour, time.Time{})
	require.ErrorIs(t, err, status.ErrFailedPrecondition, "both are in use")
	assert.Contains(t, err.Error(), "works until")
	works(keys, map[string]bool{first: true, lost: false, third: true})
	require.NoError(t, keys.Close())

	keys = openKeys(t, store)
	works(keys, map[string]bool{first: true, lost: false})
	_, _, err = keys.Rotate(t.Context(), key.ID, time.Hour, time.Time{})
	require.ErrorIs(t, err, status.ErrFailedPrecondition, "whether the current one was used is not known after a start")
	_, fourth, err := keys.Rotate(t.Context(), key.ID, 0, time.Time{})
	require.NoError(t, err, "at once ends both")
	works(keys, map[string]bool{first: false, third: false, fourth: true})
	require.NoError(t, keys.Revoke(t.Context(), key.ID))
	works(keys, map[string]bool{first: false, lost: false, third: false, fourth: false})
}

func TestSubjectsThatCanBeToldApart(t *testing.T) {
	for subject, good := range map[string]bool{
		"key:4hx": true, "https://issuer.example#bob": true, "Žofie Nová": true, strings.Repeat("x", access.MaxSubject): true,
		"": false, "bob ": false, " bob": false, "bob\u200b": false, "b\u202eob": false, "bob\n": false, "bob\x1b[2J": false, "bo\u00a0b": false, "\xff": false,
		strings.Repeat("x", access.MaxSubject+1): false,
	} {
		assert.Equal(t, good, access.CheckSubject(subject) == nil, "%q", subject)
	}
}

func TestARevocationHoldsWhenTheStoreFails(t *testing.T) {
	store := &faulty{Store: access.NewMemory()}
	keys := openKeys(t, store)
	key, token := create(t, keys, time.Time{}, "admin")
	identity, err := ask(keys, token)
	require.NoError(t, err)
	store.del.is(errors.New("the disk is on fire"))
	err = keys.Revoke(t.Context(), key.ID)
	require.ErrorIs(t, err, status.ErrUnavailable)
	assert.NotContains(t, status.Convert(err).Message, "fire")
	require.Error(t, identity.Life.Err())
	_, err = ask(keys, token)
	require.ErrorIs(t, err, status.ErrUnauthenticated)
	got, err := keys.Get(key.ID)
	require.NoError(t, err)
	assert.Equal(t, access.Revoked, got.State)
	_, _, err = keys.Rotate(t.Context(), key.ID, 0, time.Time{})
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	store.del.is(nil)
	require.NoError(t, keys.Revoke(t.Context(), key.ID))
	_, err = keys.Get(key.ID)
	require.ErrorIs(t, err, status.ErrNotFound)
}

func TestAChangeThatIsNotStoredIsNone(t *testing.T) {
	store := &faulty{Store: access.NewMemory()}
	keys := openKeys(t, store)
	key, token := create(t, keys, time.Time{}, "admin")
	store.put.is(status.Publicf(status.ResourceExhausted, "the disk is full"))
	_, _, err := keys.Create(t.Context(), access.KeySpec{Name: "x", Scopes: access.Scopes{Admin: true}})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	_, _, err = keys.Rotate(t.Context(), key.ID, 0, time.Time{})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	_, err = ask(keys, token)
	require.NoError(t, err)
	all, _ := keys.List("", 10)
	require.Len(t, all, 1)
	assert.True(t, all[0].RotatedAt.IsZero())
}

// A caller whose identity ends while others' changes are stored changes nothing any more.
func TestAnEndedCallerChangesNothing(t *testing.T) {
	keys := openKeys(t, access.NewMemory())
	key, _ := create(t, keys, time.Time{}, "admin")
	why := status.Publicf(status.Unauthenticated, "the key was revoked")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, _, err := keys.Create(ctx, access.KeySpec{Name: "x", Scopes: access.Scopes{Admin: true}})
	require.ErrorIs(t, err, error(why))
	_, _, err = keys.Rotate(ctx, key.ID, 0, time.Time{})
	require.ErrorIs(t, err, error(why))
	require.ErrorIs(t, keys.Revoke(ctx, key.ID), error(why))
	all, _ := keys.List("", 10)
	require.Len(t, all, 1)
	assert.Equal(t, access.Active, all[0].State)
}

func TestADamagedRecordLetsNobodyIn(t *testing.T) {
	store := access.NewMemory()
	keys := openKeys(t, store)
	good, token := create(t, keys, time.Time{}, "admin")
	var raw []byte
	require.NoError(t, store.Load(t.Context(), func(_ string, record []byte, _ error) error { raw = record; return nil }))
	require.NoError(t, keys.Close())
	bad := map[string]string{
		"a": "", "b": "{}", "c": "[]", "d": string(raw), // another key's record
		strings.Repeat("a", 16): strings.Replace(string(raw), good.ID, strings.Repeat("b", 16), 1),
		strings.Repeat("b", 16): `{"id":"bbbbbbbbbbbbbbbb","name":"x","scopes":["admin"],"createdAt":"2020-01-01T00:00:00Z"}`,
		strings.Repeat("c", 16): `{"id":"cccccccccccccccc","name":"x","scopes":["admin"],"createdAt":"2020-01-01T00:00:00Z","hash":"00"}`,
		strings.Repeat("d", 16): `{"id":"dddddddddddddddd","name":"x","scopes":["root"],"createdAt":"2020-01-01T00:00:00Z","hash":"` + strings.Repeat("11", 32) + `"}`,
		"uses":                  "nonsense",
	}
	for id, record := range bad {
		require.NoError(t, store.Put(t.Context(), id, []byte(record)))
	}
	var log bytes.Buffer
	again, err := access.OpenKeys(t.Context(), access.KeysConfig{Store: store, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	defer again.Close()
	_, err = ask(again, token)
	require.NoError(t, err, "the others work")
	all, _ := again.List("", 100)
	damaged := 0
	for _, k := range all {
		if k.State == access.Damaged {
			damaged++
			assert.False(t, k.Scopes.Admin)
			_, _, err := again.Rotate(t.Context(), k.ID, 0, time.Time{})
			require.ErrorIs(t, err, status.ErrDataLoss)
			require.NoError(t, again.Revoke(t.Context(), k.ID))
		}
	}
	assert.Equal(t, len(bad)-1, damaged)
	assert.Equal(t, damaged, strings.Count(log.String(), "level=ERROR"))
	all, _ = again.List("", 100)
	assert.Len(t, all, 1)
}

func TestKeysAreBounded(t *testing.T) {
	keys, err := access.OpenKeys(t.Context(), access.KeysConfig{Store: access.NewMemory(), MaxKeys: 2})
	require.NoError(t, err)
	defer keys.Close()
	create(t, keys, time.Time{}, "admin")
	second, _ := create(t, keys, time.Time{}, "admin")
	_, _, err = keys.Create(t.Context(), access.KeySpec{Name: "x", Scopes: access.Scopes{Admin: true}})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	require.NoError(t, keys.Revoke(t.Context(), second.ID))
	create(t, keys, time.Time{}, "admin")
}

// Who makes a key for each hour, for years, is never stopped by those that have expired.
func TestKeysThatHaveExpiredGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := access.NewMemory()
		keys, err := access.OpenKeys(t.Context(), access.KeysConfig{Store: store, MaxKeys: 20, KeepExpired: 10 * time.Hour})
		require.NoError(t, err)
		lasting, _ := create(t, keys, time.Time{}, "admin")
		var made []string
		for range 100 {
			key, token := create(t, keys, time.Now().Add(time.Hour), "acme:invoke")
			_, err := ask(keys, token)
			require.NoError(t, err)
			made = append(made, key.ID)
			time.Sleep(time.Hour) // in a bubble
		}
		synctest.Wait()
		all, _ := keys.List("", 100)
		assert.InDelta(t, 11, len(all), 1, "of those that have expired the last ten hours' are there")
		assert.Equal(t, lasting.ID, all[0].ID)
		assert.Equal(t, made[99], all[len(all)-1].ID)
		assert.Equal(t, access.Expired, all[len(all)-1].State)
		stored := 0
		require.NoError(t, store.Load(t.Context(), func(id string, _ []byte, damage error) error {
			if id != access.UsesID {
				stored++
			}
			return damage
		}))
		assert.Equal(t, len(all), stored)

		for i := range 100 { // within the ten hours
			_, _, err := keys.Create(t.Context(), access.KeySpec{Name: "fast", Scopes: access.Scopes{Admin: true}, ExpiresAt: time.Now().Add(time.Second)})
			require.NoError(t, err, "key %d", i)
			time.Sleep(2 * time.Second)
		}
		all, _ = keys.List("", 100)
		assert.Len(t, all, 20, "the bound holds")
		assert.Equal(t, lasting.ID, all[0].ID, "a key that has not expired gives way to none")
		require.NoError(t, keys.Close())

		time.Sleep(11 * time.Hour)
		keys, err = access.OpenKeys(t.Context(), access.KeysConfig{Store: store, KeepExpired: 10 * time.Hour})
		require.NoError(t, err)
		synctest.Wait()
		all, _ = keys.List("", 100)
		assert.Len(t, all, 1, "a start removes them, too")
		require.NoError(t, keys.Close())
	})
}

// A key keeps its place for as long as the request that has made it may be sent again, and a store that fails loses none.
func TestKeysThatAreNotDueStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{Store: access.NewMemory()}
		keys, err := access.OpenKeys(t.Context(), access.KeysConfig{Store: store, MaxKeys: 1, KeepExpired: time.Hour})
		require.NoError(t, err)
		spec := access.KeySpec{Name: "x", Scopes: access.Scopes{Admin: true}, ExpiresAt: time.Now().Add(time.Hour), Request: "hash"}
		key, _, err := keys.Create(t.Context(), spec)
		require.NoError(t, err)
		time.Sleep(20 * time.Hour) // in a bubble
		synctest.Wait()
		other := access.KeySpec{Name: "y", Scopes: access.Scopes{Admin: true}}
		_, _, err = keys.Create(t.Context(), other)
		require.ErrorIs(t, err, status.ErrResourceExhausted)
		again := spec
		again.ExpiresAt = time.Now().Add(time.Hour)
		_, _, err = keys.Create(t.Context(), again)
		id, before := access.MadeBefore(err)
		assert.True(t, before)
		assert.Equal(t, key.ID, id)

		store.del.is(errors.New("the disk is on fire"))
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		_, err = keys.Get(key.ID)
		require.NoError(t, err, "its record could not be removed")
		_, _, err = keys.Create(t.Context(), other)
		require.ErrorIs(t, err, store.del.get(), "and so no other takes its place")
		store.del.is(nil)
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		_, err = keys.Get(key.ID)
		require.ErrorIs(t, err, status.ErrNotFound)
		require.NoError(t, keys.Close())
	})
}

// What was revoked while the store failed is removed as soon as it can be: the next process would let it in.
func TestARevokedKeyIsRemovedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{Store: access.NewMemory()}
		keys, err := access.OpenKeys(t.Context(), access.KeysConfig{Store: store})
		require.NoError(t, err)
		key, _ := create(t, keys, time.Time{}, "admin")
		store.del.is(errors.New("the disk is on fire"))
		require.ErrorIs(t, keys.Revoke(t.Context(), key.ID), status.ErrUnavailable)
		store.del.is(nil)
		time.Sleep(6 * time.Minute) // in a bubble
		synctest.Wait()
		_, err = keys.Get(key.ID)
		require.ErrorIs(t, err, status.ErrNotFound)
		require.NoError(t, keys.Close())
	})
}

func TestThatAnAdminKeyWasGivenOutIsKept(t *testing.T) {
	store := &faulty{Store: access.NewMemory()}
	keys := openKeys(t, store)
	assert.False(t, keys.Settled())
	key, _ := create(t, keys, time.Time{}, "admin")
	assert.True(t, keys.Settled(), "a key is there")
	require.NoError(t, keys.Revoke(t.Context(), key.ID))
	assert.False(t, keys.Settled(), "nobody was told of it")
	store.put.is(errors.New("the disk is on fire"))
	require.ErrorIs(t, keys.Settle(t.Context()), store.put.get())
	assert.False(t, keys.Settled())
	store.put.is(nil)
	require.NoError(t, keys.Settle(t.Context()))
	require.NoError(t, keys.Settle(t.Context()))
	keys = openKeys(t, store)
	assert.True(t, keys.Settled())
	all, _ := keys.List("", 10)
	assert.Empty(t, all, "the record is no key")
}

func TestATenantsScopesAreWithdrawn(t *testing.T) {
	store := &faulty{Store: access.NewMemory()}
	keys := openKeys(t, store)
	alone, first := create(t, keys, time.Time{}, "acme:manage")
	both, second := create(t, keys, time.Time{}, "acme:manage", "beta:read")
	operator, third := create(t, keys, time.Time{}, "admin", "acme:read")
	_, fourth := create(t, keys, time.Time{}, "acme2:read")
	identity, err := ask(keys, second)
	require.NoError(t, err)
	store.put.is(errors.New("the disk is full"))
	_, err = keys.Withdraw(t.Context(), "acme")
	require.Error(t, err)
	store.put.is(nil)
	changed, err := keys.Withdraw(t.Context(), "acme")
	require.NoError(t, err)
	assert.Subset(t, []string{alone.ID, both.ID, operator.ID}, changed)
	check := func(keys *access.Keys) {
		t.Helper()
		_, err := ask(keys, first)
		require.ErrorIs(t, err, status.ErrUnauthenticated, "it had no other scope")
		for token, want := range map[string][]string{second: {"beta:read"}, third: {"admin"}, fourth: {"acme2:read"}} {
			identity, err := ask(keys, token)
			require.NoError(t, err)
			assert.Equal(t, want, identity.Scopes.List())
		}
	}
	check(keys)
	require.NoError(t, identity.Life.Err(), "what runs elsewhere goes on")
	require.NoError(t, keys.Revoke(t.Context(), both.ID))
	require.Error(t, identity.Life.Err(), "and ends with its key")
	_, second, _ = keys.Create(t.Context(), access.KeySpec{Name: "x", Scopes: scopes(t, "beta:read")})
	check(openKeys(t, store))
	changed, err = keys.Withdraw(t.Context(), "acme")
	require.NoError(t, err)
	assert.Empty(t, changed)
}

func TestHasAdmin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, err := access.OpenKeys(t.Context(), access.KeysConfig{Store: access.NewMemory()})
		require.NoError(t, err)
		defer keys.Close()
		create(t, keys, time.Time{}, "acme:manage")
		assert.False(t, keys.HasAdmin())
		key, _ := create(t, keys, time.Now().Add(time.Hour), "admin")
		assert.True(t, keys.HasAdmin())
		time.Sleep(2 * time.Hour) // in a bubble
		assert.False(t, keys.HasAdmin())
		_, _, err = keys.Rotate(t.Context(), key.ID, 0, time.Now().Add(time.Hour))
		require.NoError(t, err)
		assert.True(t, keys.HasAdmin())
		require.NoError(t, keys.Revoke(t.Context(), key.ID))
		assert.False(t, keys.HasAdmin())
	})
}

// counted counts what is stored.
type counted struct {
	access.Store
	mu   sync.Mutex
	puts []string
}

func (c *counted) Put(ctx context.Context, id string, record []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.puts = append(c.puts, id)
	return c.Store.Put(ctx, id, record)
}

// stored returns the ids in their order.
func (c *counted) stored() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.puts)
}

func TestUsesAreWrittenNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counted{Store: access.NewMemory()}
		keys, err := access.OpenKeys(t.Context(), access.KeysConfig{Store: store, UsesEvery: time.Minute})
		require.NoError(t, err)
		key, token := create(t, keys, time.Time{}, "admin")
		for range 1000 {
			_, err := ask(keys, token)
			require.NoError(t, err)
		}
		assert.Len(t, store.stored(), 1, "to authenticate writes nothing")
		time.Sleep(90 * time.Second) // in a bubble
		assert.Equal(t, []string{key.ID, "uses"}, store.stored())
		time.Sleep(time.Hour)
		assert.Len(t, store.stored(), 2, "what has not changed is not written")
		_, err = ask(keys, token)
		require.NoError(t, err)
		require.NoError(t, keys.Close())
		require.NoError(t, keys.Close())
		assert.Len(t, store.stored(), 3)
		var uses map[string]int64
		require.NoError(t, store.Load(t.Context(), func(id string, record []byte, _ error) error {
			if id == "uses" {
				return json.Unmarshal(record, &uses)
			}
			return nil
		}))
		assert.Equal(t, map[string]int64{key.ID: time.Now().Unix()}, uses)
	})
}

func TestManyUseAndChangeKeysAtOnce(t *testing.T) {
	keys := openKeys(t, access.NewMemory())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				key, token, err := keys.Create(context.Background(), access.KeySpec{Name: "x", Scopes: access.Scopes{Admin: true}})
				if !assert.NoError(t, err) {
					return
				}
				identity, err := ask(keys, token)
				if !assert.NoError(t, err) {
					return
				}
				ended := make(chan error, 1)
				stop := identity.Life.OnEnd(func(err error) { ended <- err })
				_, next, err := keys.Rotate(context.Background(), key.ID, time.Hour, time.Time{})
				assert.NoError(t, err)
				_, _ = keys.List("", 10)
				assert.NoError(t, keys.Revoke(context.Background(), key.ID))
				assert.Error(t, <-ended)
				stop()
				_, err = ask(keys, next)
				assert.Error(t, err)
			}
		})
	}
	all.Wait()
	left, _ := keys.List("", 10)
	assert.Empty(t, left)
}

// Right and wrong tokens cost about the same, whether there is such a key or not; the ratio
// is looked at by a person.
func BenchmarkAuthenticate(b *testing.B) {
	keys := openKeys(b, access.NewMemory())
	var token string
	for range 10_000 {
		_, token = create(b, keys, time.Time{}, "acme:invoke")
	}
	for name, given := range map[string]string{
		"right":            token,
		"wrong":            token[:72] + string('a'+(token[72]-'a'+1)%2),
		"unknown":          "gwk_aaaaaaaaaaaaaaaa_" + token[21:],
		"not a key":        "eyJhbGciOiJSUzI1NiJ9.e30.x",
		"right, 2 at once": token,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			if strings.Contains(name, "at once") {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						_, _ = ask(keys, given)
					}
				})
				return
			}
			for b.Loop() {
				_, _ = ask(keys, given)
			}
		})
	}
}

func ExampleKeys() {
	ctx := context.Background()
	keys, err := access.OpenKeys(ctx, access.KeysConfig{Store: access.NewMemory()})
	if err != nil {
		panic(err)
	}
	defer keys.Close()
	scopes, _ := access.ParseScopes([]string{"acme:invoke"})
	key, token, err := keys.Create(ctx, access.KeySpec{Name: "ci", Scopes: scopes})
	if err != nil {
		panic(err)
	}
	identity, err := keys.Authenticate(ctx, access.Credentials{Token: token})
	fmt.Println(identity.Subject == "key:"+key.ID, err, identity.Scopes.Allows("acme", access.Invoke), identity.Scopes.Allows("acme", access.Manage))
	// Output: true <nil> true false
}

// A token that is pasted into the place of a name would be stored in plain text, and shown in the list of keys.
func TestAKeyIsNotNamedByAToken(t *testing.T) {
	keys := openKeys(t, access.NewMemory())
	key, token := create(t, keys, time.Time{}, "admin")
	for _, name := range []string{token, "for " + token, token + "a"} {
		_, _, err := keys.Create(t.Context(), access.KeySpec{Name: name, Scopes: access.Scopes{Admin: true}})
		require.ErrorIs(t, err, status.ErrInvalidArgument)
		assert.NotContains(t, status.ToWire(err, false).Message, token)
	}
	listed, _ := keys.List("", 10)
	assert.Len(t, listed, 1)
	_, _, err := keys.Create(t.Context(), access.KeySpec{Name: "after gwk_" + key.ID + "_old", Scopes: access.Scopes{Admin: true}})
	require.NoError(t, err)
}
