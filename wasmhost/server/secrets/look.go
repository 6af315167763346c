package secrets

import (
	"context"
	"errors"
	"log/slog"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
)

// maxNamed bounds how many values the log names at a start.
const maxNamed = 20

// survey counts what a start finds.
type survey struct {
	stored, closed, damaged, renewed, old int
}

// look tries to open each value, and encrypts anew those that the first key does not open.
func (s *Store) look(ctx context.Context) error {
	keys, err := s.backend.List(ctx, "")
	if err != nil {
		return err
	}
	seen := &survey{}
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return status.Convert(err)
		}
		if err := s.lookAt(ctx, key, seen); err != nil {
			return err
		}
	}
	s.tell(ctx, seen)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored, s.damaged = seen.stored, seen.damaged
	return nil
}

func (s *Store) lookAt(ctx context.Context, key Key, seen *survey) error {
	seen.stored++
	r, err := s.read(ctx, key)
	var v secret.Value
	if err == nil && r != nil {
		v, err = s.config.Keys.open(r)
	}
	switch {
	case errors.Is(err, errWrongKey):
		if seen.closed++; seen.closed <= maxNamed && s.config.Keys != nil {
			s.log.LogAttrs(ctx, slog.LevelError, "a stored secret can't be opened with the server's key, and is refused", key.attrs()...)
		}
		return nil
	case errors.Is(err, status.ErrDataLoss):
		if seen.damaged++; seen.damaged <= maxNamed {
			s.log.LogAttrs(ctx, slog.LevelError, "a stored secret is damaged, and is refused", key.attrs()...)
		}
		return nil
	case err == nil && r != nil && !s.config.Keys.fresh(r):
		s.renew(ctx, r, v, seen)
	}
	return err
}

// attrs name a value in the log.
func (k Key) attrs() []slog.Attr {
	return []slog.Attr{slog.String("tenant", k.Tenant), slog.String("kind", string(k.Kind)), slog.String("name", k.Name)}
}

// renew encrypts a value with the first key. Where that fails the older key goes on to open
// it.
func (s *Store) renew(ctx context.Context, r *record, v secret.Value, seen *survey) {
	fresh := record{head: r.head}
	err := s.config.Keys.seal(&fresh, v)
	if err == nil {
		err = s.write(ctx, &fresh)
	}
	if err != nil {
		seen.old++
		s.log.LogAttrs(ctx, slog.LevelWarn, "a secret can't be encrypted anew", append(r.key().attrs(), slog.Any("error", err))...)
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
