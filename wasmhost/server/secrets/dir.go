package secrets

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
)

// place is a tenant's directory that a caller works in.
type place struct {
	*space
	dir, id string
}

// enter takes the lock of a tenant: for reading, or alone for a change.
func (s *Store) enter(ctx context.Context, tenant string, change bool) (at place, leave func(), err error) {
	at, leave, err = s.enterAs(ctx, tenant, "", change)
	if err != nil {
		return at, nil, err
	}
	// Under the lock: a tenant that is deleted meanwhile gets no new value after its others
	// have been removed.
	if at.id, err = s.config.TenantID(tenant); err == nil && at.id == "" {
		err = status.Publicf(status.FailedPrecondition, "tenant %q has no secrets: what is stored of it can't be read", tenant)
	}
	if err != nil {
		leave()
		return at, nil, err
	}
	return at, leave, nil
}

func (s *Store) enterAs(ctx context.Context, tenant, id string, change bool) (at place, leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return at, nil, status.Convert(err)
	}
	sp, err := s.hold(tenant)
	if err != nil {
		return at, nil, err
	}
	at = place{sp, dirOf(tenant), id}
	for {
		unlock := sp.lock(change)
		leave = func() {
			unlock()
			s.release(tenant, sp)
		}
		if !sp.unsynced {
			return at, leave, nil
		}
		if change {
			if err := s.settle(at); err != nil {
				leave()
				return at, nil, storedir.Problem("sync an earlier change of the secrets", unavailable(err))
			}
			return at, leave, nil
		}
		unlock()
		if err := s.settleAlone(at); err != nil {
			s.release(tenant, sp)
			return at, nil, storedir.Problem("sync an earlier change of the secrets", unavailable(err))
		}
	}
}

func (s *Store) settleAlone(at place) error {
	defer at.lock(true)()
	return s.settle(at)
}

// settle has earlier changes on the disk. The lock for changes is held.
func (s *Store) settle(at place) error {
	if !at.unsynced {
		return nil
	}
	if err := s.syncRoot(); err != nil {
		return err
	}
	if err := s.files.SyncDir(at.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	at.unsynced = false
	return nil
}

// syncRoot syncs the directory of the tenants, where that has failed before.
func (s *Store) syncRoot() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.unsynced {
		return nil
	}
	if err := s.files.SyncDir("."); err != nil {
		return err
	}
	s.unsynced = false
	return nil
}

func (s *Store) leaveRootUnsynced() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsynced = true
}

// hold returns the space of a tenant, which stays the same one until everybody has released
// it.
func (s *Store) hold(tenant string) (*space, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, status.Errorf(status.FailedPrecondition, "the store of secrets is closed")
	}
	sp := s.spaces[tenant]
	if sp == nil {
		sp = &space{}
		s.spaces[tenant] = sp
	}
	sp.users++
	return sp, nil
}

func (s *Store) release(tenant string, sp *space) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sp.users--; sp.users == 0 && !sp.unsynced {
		delete(s.spaces, tenant)
	}
}

// unavailable gives an error that says nothing else the code of what may work later.
func unavailable(err error) error {
	if e := status.Convert(storedir.Problem("", err)); e.Code != status.Internal {
		return err
	}
	return status.Errorf(status.Unavailable, "%w", err)
}

// filesOf lists the files of a kind; none where the tenant has no directory.
func (s *Store) filesOf(at place, kind Kind) ([]string, error) {
	entries, err := s.files.ReadDir(at.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, storedir.Problem("list the secrets", unavailable(err))
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefixOf(kind)) && strings.HasSuffix(e.Name(), fileSuffix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// read returns a file's record; nil when there is none, DATA_LOSS when it is none that was
// written for this place.
func (s *Store) read(at place, file string) (*record, error) {
	r, _, err := s.readFile(at, file)
	return r, err
}

func (s *Store) readFile(at place, file string) (*record, []byte, error) {
	raw, err := s.files.ReadFile(at.dir+"/"+file, maxFileBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case err != nil && !errors.Is(err, storedir.ErrIrregular):
		return nil, nil, storedir.Problem("read a secret", unavailable(err))
	}
	if r, ok := decode(raw); ok && err == nil && dirOf(r.head.Tenant) == at.dir && fileOf(r.head.Kind, r.head.Name) == file {
		return r, raw, nil
	}
	return nil, raw, status.Publicf(status.DataLoss, "what is stored in the file %q is damaged; set it again", file).WithCause(err)
}

// current returns the record of a name, nil where the tenant has none that can be read, and
// what its file holds, nil where there is no file.
func (s *Store) current(at place, kind Kind, name string) (*record, []byte, error) {
	r, raw, err := s.readFile(at, fileOf(kind, name))
	if errors.Is(err, status.ErrDataLoss) {
		if raw == nil {
			raw = []byte{}
		}
		return nil, raw, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if r != nil && r.head.TenantID != at.id { // of a tenant that had the name before
		r = nil
	}
	return r, raw, nil
}

// checkRoom refuses one value too many.
func (s *Store) checkRoom(at place, kind Kind) error {
	files, err := s.filesOf(at, kind)
	if err != nil || len(files) < MaxSecrets {
		return err
	}
	n := 0
	for _, file := range files {
		r, err := s.read(at, file)
		if err != nil && !errors.Is(err, status.ErrDataLoss) {
			return err
		}
		if err != nil || r != nil && r.head.TenantID == at.id {
			n++
		}
	}
	if n < MaxSecrets {
		return nil
	}
	return status.Publicf(status.ResourceExhausted, "the tenant has its %d %ss; remove one first", MaxSecrets, kind)
}

// write stores a record in the place of what is there, old, which is nil for nothing. When it
// fails, the old one is there, or the directory is unsynced.
func (s *Store) write(at place, r *record, old []byte) error {
	if err := s.makeDir(at); err != nil {
		return unavailable(err)
	}
	file := fileOf(r.head.Kind, r.head.Name)
	err := storedir.WriteFile(s.files, at.dir, file, encode(r))
	if storedir.Unsettled(err) {
		var undone error
		if old == nil {
			undone = s.unlink(at, file)
		} else {
			undone = storedir.WriteFile(s.files, at.dir, file, old)
		}
		at.unsynced = undone != nil
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// makeDir makes a tenant's directory where it is not there.
func (s *Store) makeDir(at place) error {
	if _, err := s.files.ReadDir(at.dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, s.syncRoot())
	}
	if err := storedir.Mkdir(s.files, ".", at.dir); err != nil {
		s.leaveRootUnsynced()
		return err
	}
	return nil
}

// remove removes a file.
func (s *Store) remove(at place, file string) error {
	if err := s.unlink(at, file); err != nil {
		at.unsynced = true
		return unavailable(err)
	}
	return nil
}

func (s *Store) unlink(at place, file string) error {
	if err := storedir.RemoveAll(s.files, at.dir+"/"+file); err != nil {
		return err
	}
	return s.files.SyncDir(at.dir)
}

// dropSpace removes a tenant's directory, in one step: it gets a temporary name first.
func (s *Store) dropSpace(at place) error {
	temporary := storedir.TemporaryName()
	err := storedir.Rename(s.files, ".", at.dir, temporary)
	if errors.Is(err, fs.ErrNotExist) {
		return s.syncRoot()
	}
	if err != nil {
		s.leaveRootUnsynced()
		at.unsynced = true
		return unavailable(err)
	}
	at.unsynced = false
	storedir.Discard(s.files, temporary)
	return nil
}

// maxNamed bounds how many files the log names at a start.
const maxNamed = 20

// recover removes what a process that was ended left half written, has on the disk what it
// left unsynced, and looks at every value.
func (s *Store) recover(ctx context.Context) error {
	if err := storedir.RemoveTemporary(s.files, "."); err != nil {
		return err
	}
	entries, err := s.files.ReadDir(".")
	if err != nil {
		return err
	}
	seen := &survey{}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), tenantPrefix) {
			continue
		}
		tenant, ok := storedir.NamedBy(tenantPrefix, e.Name(), "")
		if !ok {
			tenant = e.Name() // of a name that is too long for a file's
		}
		if err := storedir.RemoveTemporary(s.files, e.Name()); err != nil {
			return err
		}
		if err := s.files.SyncDir(e.Name()); err != nil {
			return err
		}
		if err := s.look(ctx, place{&space{}, e.Name(), ""}, tenant, seen); err != nil {
			return err
		}
	}
	s.tell(ctx, seen)
	s.mu.Lock()
	s.stored, s.damaged = seen.stored, seen.damaged
	s.mu.Unlock()
	return s.files.SyncDir(".")
}

// survey counts what a start finds.
type survey struct {
	stored, closed, damaged, renewed, old int
}

// look tries to open each value of a tenant, and encrypts anew those that the first key does
// not open.
func (s *Store) look(ctx context.Context, at place, tenant string, seen *survey) error {
	for _, kind := range []Kind{Secret, Credential} {
		files, err := s.filesOf(at, kind)
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := ctx.Err(); err != nil {
				return status.Convert(err)
			}
			if err := s.lookAt(ctx, at, tenant, file, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) lookAt(ctx context.Context, at place, tenant, file string, seen *survey) error {
	seen.stored++
	r, raw, err := s.readFile(at, file)
	var v secret.Value
	if err == nil && r != nil {
		v, err = s.config.Keys.open(r)
	}
	where := []slog.Attr{slog.String("tenant", tenant), slog.String("file", at.dir+"/"+file)}
	switch {
	case errors.Is(err, errWrongKey):
		if seen.closed++; seen.closed <= maxNamed && s.config.Keys != nil {
			s.log.LogAttrs(ctx, slog.LevelError, "a stored secret can't be opened with the server's key, and is refused", where...)
		}
		return nil
	case errors.Is(err, status.ErrDataLoss):
		if seen.damaged++; seen.damaged <= maxNamed {
			s.log.LogAttrs(ctx, slog.LevelError, "a stored secret is damaged, and is refused", where...)
		}
		return nil
	case err == nil && r != nil && !s.config.Keys.fresh(r):
		s.renew(ctx, at, r, raw, v, seen)
	}
	return err
}

// renew encrypts a value with the first key. Where that fails the older key goes on to open
// it.
func (s *Store) renew(ctx context.Context, at place, r *record, raw []byte, v secret.Value, seen *survey) {
	fresh := record{head: r.head}
	err := s.config.Keys.seal(&fresh, v)
	if err == nil {
		err = s.write(at, &fresh, raw)
	}
	if err != nil {
		seen.old++
		s.log.WarnContext(ctx, "a secret can't be encrypted anew", slog.String("file", at.dir+"/"+fileOf(r.head.Kind, r.head.Name)), slog.Any("error", err))
		return
	}
	seen.renewed++
}

func (s *Store) tell(ctx context.Context, seen *survey) {
	count := func(n int) slog.Attr { return slog.Int("secrets", n) }
	switch {
	case seen.closed > 0 && s.config.Keys == nil:
		s.log.LogAttrs(ctx, slog.LevelError, "secrets are stored, and the server was started without the key that opens them; calls that need one are refused", count(seen.closed))
	case seen.closed > maxNamed:
		s.log.LogAttrs(ctx, slog.LevelError, "more secrets than these can't be opened", count(seen.closed))
	}
	if seen.damaged > maxNamed {
		s.log.LogAttrs(ctx, slog.LevelError, "more secrets than these are damaged", count(seen.damaged))
	}
	if seen.renewed > 0 {
		s.log.LogAttrs(ctx, slog.LevelInfo, "secrets were encrypted anew with the first key", count(seen.renewed))
	}
	if seen.old > 0 {
		s.log.LogAttrs(ctx, slog.LevelWarn, "secrets are still encrypted with an older key, which is needed until they are not", count(seen.old))
	}
}
