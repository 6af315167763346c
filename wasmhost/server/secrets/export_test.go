package secrets

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
)

// OpenFS opens a store on a file system that fails.
func OpenFS(c Config, files storedir.FS) (*Store, error) {
	return open(context.Background(), c, files)
}

// Decode reports whether a file is whole, and how it would be written.
func Decode(raw []byte) (again []byte, ok bool) {
	r, ok := decode(raw)
	if !ok {
		return nil, false
	}
	return encode(r), true
}

// Spaces returns how many tenants have a lock.
func (s *Store) Spaces() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.spaces)
}

// Join writes a file of a head and a ciphertext, with the checksum that fits.
func Join(headLine, sealed []byte) []byte {
	return encode(&record{headLine: headLine, sealed: sealed})
}

// OpenSealed decrypts with a key that nobody else has.
func OpenSealed(sealed []byte) (string, error) {
	text, err := NewKey()
	if err != nil {
		return "", err
	}
	k, err := ParseKeys([]byte(text))
	if err != nil {
		return "", err
	}
	v, err := k.open(&record{sealed: sealed})
	return v.Reveal(), err
}

// Opened returns how many values are kept decrypted.
func (s *Store) Opened() int {
	s.opened.mu.Lock()
	defer s.opened.mu.Unlock()
	return len(s.opened.all)
}

// FillOpened keeps more values than may be kept.
func (s *Store) FillOpened() (n, most int) {
	for i := range maxOpened + 10 {
		s.opened.put("x", &record{sum: string(rune(i))}, secret.New("value"))
	}
	return s.Opened(), maxOpened
}

// DirBackend is the backend of a directory, as a store opens it.
func DirBackend(files storedir.FS) (Backend, error) { return openDir(files) }
