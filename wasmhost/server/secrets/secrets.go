// Package secrets keeps what belongs to a tenant and is shown to nobody: the secrets that its
// guests use, and its own API keys for the providers of models. Both are encrypted at rest.
//
// It owns the files, their encryption and the limits. Code that holds a [Store] can set and
// remove values and see their names; the values leave it through [Store.Source] and
// [Store.Credential] alone, which the host and the models ask. Use:
//
//	keys, err := secrets.ParseKeys(text)
//	store, err := secrets.Open(ctx, secrets.Config{Path: dir, Keys: keys, TenantID: id})
//	entry, created, err := store.Put(ctx, "acme", secrets.Secret, "API_KEY", value, "")
//	host, err := wasmhost.New(ctx, wasmhost.Config{Secrets: store.Source(nil)})
//
// Experimental: other keepers of keys may come.
package secrets

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// Open opens the directory, and makes it where it is not there, or begins with what [Config.Backend] has. It decrypts every value once:
// those that the keys don't open are named in the log, and are refused when they are asked
// for; all others are served. Values that an older key alone opens are encrypted anew with the
// first. It fails with FAILED_PRECONDITION when another process has the directory open.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.TenantID == nil {
		return nil, status.Errorf(status.InvalidArgument, "secrets: TenantID is required")
	}
	if (c.Path == "") == (c.Backend == nil) {
		return nil, status.Errorf(status.InvalidArgument, "secrets: want one of Path and Backend")
	}
	if c.Backend != nil {
		return open(ctx, c, nil)
	}
	files, err := storedir.Open(c.Path, "store of secrets")
	if err != nil {
		return nil, err
	}
	return open(ctx, c, files)
}

// open opens the directory files, or where it is nil the backend.
func open(ctx context.Context, c Config, files storedir.FS) (*Store, error) {
	c.Providers = maps.Clone(c.Providers)
	s := &Store{config: c, files: files, backend: c.Backend, log: c.Logger, spaces: map[string]*space{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if files != nil {
		s.backend, err = openDir(files)
	}
	if err == nil {
		err = s.look(ctx)
	}
	if err != nil {
		return nil, errors.Join(storedir.Problem("open the store of secrets", err), s.Close())
	}
	return s, nil
}

// Close gives the directory free for others, and leaves another backend open. A closed store fails with FAILED_PRECONDITION.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.files == nil {
		return nil
	}
	return s.files.Close()
}

// Hold has changes wait until release is called, so that all files can be copied as they are at
// one moment. Reading goes on. It is meant for backups of the directory, and short; another backend goes on.
func (s *Store) Hold() (release func()) {
	if s.files == nil {
		return func() {}
	}
	return storedir.Hold(s.files)
}

// Found returns how many values Open has found, and how many of them are damaged.
func (s *Store) Found() (stored, damaged int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored, s.damaged
}

// CanStore returns an error that says what is missing where nothing can be stored:
// FAILED_PRECONDITION without keys.
func (s *Store) CanStore() error {
	if s.config.Keys == nil {
		return status.Publicf(status.FailedPrecondition, "this server keeps no secrets: it was started without a key that encrypts them (--secrets-key-file)")
	}
	return nil
}

// List tells of all values of a kind, sorted by name, without the values. It needs no keys.
// NOT_FOUND when there is no such tenant.
func (s *Store) List(ctx context.Context, tenant string, kind Kind) ([]Entry, error) {
	at, leave, err := s.enter(ctx, tenant, false)
	if err != nil {
		return nil, err
	}
	defer leave()
	keys, err := s.keysOf(ctx, at, kind)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(keys))
	for _, key := range keys {
		r, err := s.read(ctx, key)
		switch {
		case errors.Is(err, status.ErrDataLoss):
			entries = append(entries, Entry{Name: key.Name, Problem: messageOf(err)})
		case err != nil:
			return nil, err
		case r != nil && r.head.TenantID == at.id:
			entries = append(entries, r.entry())
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return entries, nil
}

// Get tells of one value, without it; NOT_FOUND when there is none.
func (s *Store) Get(ctx context.Context, tenant string, kind Kind, name string) (Entry, error) {
	if err := CheckName(kind, name); err != nil {
		return Entry{}, err
	}
	at, leave, err := s.enter(ctx, tenant, false)
	if err != nil {
		return Entry{}, err
	}
	defer leave()
	r, err := s.read(ctx, at.key(kind, name))
	switch {
	case errors.Is(err, status.ErrDataLoss):
		return Entry{Name: name, Problem: messageOf(err)}, nil
	case err != nil:
		return Entry{}, err
	case r == nil || r.head.TenantID != at.id:
		return Entry{}, notThere(kind, name)
	}
	return r.entry(), nil
}

// Put stores a value under a name, in the place of the one that is there, and reports whether
// there was none. When it returns nil the value outlives the process; when it fails, the old
// one is still there. The next request that asks for the value gets the new one.
//
// revision is the one that the caller knows, "-" where nothing is to be there, or empty for whatever is stored;
// FAILED_PRECONDITION with [ErrStale] when the stored one is another. It fails with
// INVALID_ARGUMENT for a name or a value that can't be, NOT_FOUND for a credential of a
// provider that the server has not, FAILED_PRECONDITION without keys, and RESOURCE_EXHAUSTED
// when the tenant has its [MaxSecrets].
func (s *Store) Put(ctx context.Context, tenant string, kind Kind, name string, value secret.Value, revision string) (e Entry, created bool, err error) {
	if err := s.check(kind, name, value); err != nil {
		return Entry{}, false, err
	}
	at, leave, err := s.enter(ctx, tenant, true)
	if err != nil {
		return Entry{}, false, err
	}
	defer leave()
	old, stored, _, err := s.current(ctx, at, kind, name)
	if err != nil {
		return Entry{}, false, err
	}
	if err := checkRevision(old, kind, name, revision); err != nil {
		return Entry{}, false, err
	}
	if !stored {
		if err := s.checkRoom(ctx, at, kind); err != nil {
			return Entry{}, false, err
		}
	}
	r := record{head: head{
		Tenant: tenant, TenantID: at.id, Kind: kind, Name: name,
		Revision: rand.Text(), ChangedAt: time.Now().UTC().Truncate(time.Millisecond),
	}}
	if kind == Credential {
		r.head.URL = s.config.Providers[name]
	}
	if err := s.config.Keys.seal(&r, value); err != nil {
		return Entry{}, false, err
	}
	defer s.opened.forget(tenant)
	if err := s.write(ctx, &r); err != nil {
		return Entry{}, false, storedir.Problem(fmt.Sprintf("store the %s %q", kind, name), err)
	}
	s.log.InfoContext(ctx, "a value was set", slog.String("tenant", tenant), slog.String("kind", string(kind)), slog.String("name", name))
	return r.entry(), old == nil, nil
}

// Delete removes a value, also one that is damaged or can't be opened. revision is as for
// [Store.Put]. It needs no keys. NOT_FOUND when there is none.
func (s *Store) Delete(ctx context.Context, tenant string, kind Kind, name, revision string) error {
	if err := CheckName(kind, name); err != nil {
		return err
	}
	at, leave, err := s.enter(ctx, tenant, true)
	if err != nil {
		return err
	}
	defer leave()
	old, stored, others, err := s.current(ctx, at, kind, name)
	if err != nil {
		return err
	}
	if err := checkRevision(old, kind, name, revision); err != nil {
		return err
	}
	if !stored || others {
		return notThere(kind, name)
	}
	defer s.opened.forget(tenant)
	if err := s.backend.Delete(ctx, at.key(kind, name)); err != nil {
		return storedir.Problem(fmt.Sprintf("remove the %s %q", kind, name), unavailable(err))
	}
	s.log.InfoContext(ctx, "a value was removed", slog.String("tenant", tenant), slog.String("kind", string(kind)), slog.String("name", name))
	return nil
}

// Drop removes all values of a tenant that is being deleted, whatever its ID: from then on
// [Config.TenantID] must not give out the ID. One that has none is no failure. After a failure
// it may be called again.
func (s *Store) Drop(ctx context.Context, tenant string) error {
	leave, err := s.lock(ctx, tenant, true)
	if err != nil {
		return err
	}
	defer leave()
	defer s.opened.forget(tenant)
	if err := drop(ctx, s.backend, tenant); err != nil {
		return storedir.Problem("remove the secrets of a tenant", unavailable(err))
	}
	return nil
}

// Source finds the secrets of tenants for their guests: those that are stored, and those of
// next, which may be nil, where none of the name is stored. A stored one that can't be
// opened fails with FAILED_PRECONDITION, and DATA_LOSS when it is damaged; next is not asked
// then.
func (s *Store) Source(next secret.Source) secret.Source {
	if next == nil {
		next = secret.Static(nil)
	}
	return source{s, next}
}

type source struct {
	store *Store
	next  secret.Source
}

func (s source) Secret(ctx context.Context, tenant, name string) (secret.Value, error) {
	v, err := s.store.reveal(ctx, tenant, Secret, name)
	if errors.Is(err, errNotStored) {
		return s.next.Secret(ctx, tenant, name)
	}
	return v, err
}

// Credential returns a tenant's own API key for a provider; NOT_FOUND when it has none. It
// fails as [Store.Source] does, and with FAILED_PRECONDITION when the provider's URL is not
// the one that the key was set for.
func (s *Store) Credential(ctx context.Context, tenant, provider string) (secret.Value, error) {
	return s.reveal(ctx, tenant, Credential, provider)
}

// errNotStored is in the chain of the error for a value that is not there, and of no other: a
// tenant that is not there has no value of somebody else's.
var errNotStored = errors.New("not stored")

func (s *Store) reveal(ctx context.Context, tenant string, kind Kind, name string) (secret.Value, error) {
	at, leave, err := s.enter(ctx, tenant, false)
	if err != nil {
		return secret.Value{}, err
	}
	r, err := s.read(ctx, at.key(kind, name))
	leave()
	if err != nil {
		return secret.Value{}, err
	}
	if r == nil || r.head.TenantID != at.id {
		return secret.Value{}, notThere(kind, name)
	}
	if url := s.config.Providers[name]; kind == Credential && r.head.URL != url {
		return secret.Value{}, status.Publicf(status.FailedPrecondition, "the credential %q was set for %s, and this server asks another: set it again", name, r.head.URL)
	}
	if v, ok := s.opened.get(r); ok {
		return v, nil
	}
	v, err := s.config.Keys.open(r)
	if err == nil {
		s.opened.put(tenant, r, v)
	}
	return v, err
}

func notThere(kind Kind, name string) error {
	return status.Publicf(status.NotFound, "%s %q does not exist", kind, abi.Line(name, 80)).WithCause(errNotStored)
}

func messageOf(err error) string { return status.Convert(err).Message }

// absent is the revision of what is not there; no other is so.
const absent = "-"

func checkRevision(old *record, kind Kind, name, revision string) error {
	if revision == "" || old != nil && old.head.Revision == revision || old == nil && revision == absent {
		return nil
	}
	return status.Publicf(status.FailedPrecondition, "%s %q was changed meanwhile", kind, abi.Line(name, 80)).WithCause(ErrStale)
}

// check refuses what can't be stored.
func (s *Store) check(kind Kind, name string, value secret.Value) error {
	if err := CheckName(kind, name); err != nil {
		return err
	}
	if _, ok := s.config.Providers[name]; !ok && kind == Credential {
		return status.Publicf(status.NotFound, "this server has no provider %q whose models a tenant may use with a key of its own; it has %s", abi.Line(name, 80), quoted(s.config.Providers))
	}
	if err := value.Check(); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(value.Reveal()); n < secret.MinBytes { // as the API's document counts
		return status.Publicf(status.InvalidArgument, "a secret has at least %d characters; this one has %d", secret.MinBytes, n)
	}
	if kind == Credential && strings.ContainsFunc(value.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return status.Publicf(status.InvalidArgument, "an API key is visible characters of ASCII without blanks; this one has others")
	}
	return s.CanStore()
}

func quoted(providers map[string]string) string {
	if len(providers) == 0 {
		return "none"
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(providers)) {
		all = append(all, fmt.Sprintf("%q", name))
	}
	return strings.Join(all, ", ")
}

// CheckName says why nothing can have that name; INVALID_ARGUMENT.
func CheckName(kind Kind, name string) error {
	if policy.CheckSecretName(name) != nil {
		return status.Publicf(status.InvalidArgument, "%s %q: want a name of 1 to 64 letters, digits, \"_\", \".\" or \"-\", starting with a letter or \"_\"", kind, abi.Line(name, 80))
	}
	return nil
}
