package compile

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/verify"
)

// codeCache keeps artifacts in a directory. It returns machine code that this process will
// run, so every entry ends with an authentication code over all of it, made with a key that
// only this user can read; whatever fails the check is as good as absent.
//
//	key            32 random bytes, mode 0600
//	<entry>.code   artifact, then HMAC-SHA256
//
// The authentication code's key is derived from that one and the version of the verifier, since only what it accepts is
// compiled and kept; see docs/verifier.md.
type codeCache struct {
	root   *os.Root
	engine string
	key    []byte
	most   int64 // bytes of all entries

	mu    sync.Mutex // one prunes at a time; guards the fields below
	total int64      // bytes of all entries, about
}

const (
	keyFile  = "key"
	codeExt  = ".code"
	keyBytes = 32
)

// errNoEntry says that an entry is not there.
var errNoEntry = fs.ErrNotExist

// errForged says that an entry is damaged, or was not made here.
var errForged = errors.New("the entry is damaged or not ours")

// openCodeCache opens a cache in dir, which it makes if need be, and prunes it to most bytes.
func openCodeCache(dir, engine string, most int64) (*codeCache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	c := &codeCache{root: root, engine: engine, most: most}
	if c.key, err = c.loadKey(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	c.key = verifiedKey(c.key, verify.Version)
	return c, c.prune()
}

// verifiedKey is the key for what a version of the verifier has accepted: entries that another one has let in count no more.
func verifiedKey(key []byte, version string) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte("code of verified modules, " + version))
	return mac.Sum(nil)
}

// loadKey reads the key, or makes one. A key that others can read or write, or that
// belongs to somebody else, is replaced: entries made with it count no more.
func (c *codeCache) loadKey() ([]byte, error) {
	if info, err := c.root.Lstat(keyFile); err == nil && info.Mode().IsRegular() && private(info) {
		if key, err := c.root.ReadFile(keyFile); err == nil && len(key) == keyBytes {
			return key, nil
		}
	}
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails
	temporary := temporaryEntry()
	if err := c.write(temporary, key); err != nil {
		return nil, err
	}
	return key, c.root.Rename(temporary, keyFile)
}

// temporaryEntry returns a new name for a file that is not complete. It is renamed when it is, so that
// no reader sees half an entry.
func temporaryEntry() string { return "." + rand.Text() + ".tmp" }

// write makes a file that only this user can read; it does not overwrite one.
func (c *codeCache) write(name string, parts ...[]byte) error {
	f, err := c.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err = f.Write(p); err != nil {
			break
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, c.root.Remove(name))
	}
	return nil
}

// sum returns the authentication code of an entry's content.
func (c *codeCache) sum(content []byte) []byte {
	mac := hmac.New(sha256.New, c.key)
	_, _ = mac.Write(content)
	return mac.Sum(nil)
}

// get returns an entry that passes the check, errNoEntry or errForged. The check covers the bytes that
// were read into memory, and only these are used afterwards: a change of the file in between has no
// effect.
func (c *codeCache) get(entry string) (*artifact, error) {
	name := entry + codeExt
	info, err := c.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > 2*maxArtifactBytes || info.Size() < sha256.Size {
		return nil, errForged
	}
	content, err := c.read(name, info.Size())
	if err != nil {
		return nil, err
	}
	body, mac := content[:len(content)-sha256.Size], content[len(content)-sha256.Size:]
	if !hmac.Equal(mac, c.sum(body)) {
		return nil, errForged
	}
	a, err := readArtifact(bytes.NewReader(body), entry, c.engine)
	if err != nil {
		return nil, errors.Join(errForged, err)
	}
	now := time.Now()
	_ = c.root.Chtimes(name, now, now) // only orders what is pruned first
	return a, nil
}

// has reports whether there is a file for an entry. It is not checked.
func (c *codeCache) has(entry string) bool {
	_, err := c.root.Lstat(entry + codeExt)
	return err == nil
}

// read reads size bytes of a file. A file that has become shorter is damaged.
func (c *codeCache) read(name string, size int64) ([]byte, error) {
	f, err := c.root.Open(name)
	if err != nil {
		return nil, err
	}
	content := make([]byte, size)
	_, err = io.ReadFull(f, content)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(errForged, err)
	}
	return content, nil
}

// put keeps an entry. It is not synced: what a crash damages is made again.
func (c *codeCache) put(entry string, a *artifact) error {
	temporary := temporaryEntry()
	f, err := c.root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, c.key)
	w := bufio.NewWriter(f)
	err = a.write(io.MultiWriter(w, mac), entry, c.engine)
	if err == nil {
		_, err = w.Write(mac.Sum(nil))
	}
	if err = errors.Join(err, w.Flush(), f.Close()); err == nil {
		err = c.root.Rename(temporary, entry+codeExt)
	}
	if err != nil {
		return errors.Join(err, c.root.Remove(temporary))
	}
	info, err := c.root.Lstat(entry + codeExt)
	if err != nil {
		return err
	}
	// An entry that was replaced is counted twice until the next prune, which counts anew.
	c.mu.Lock()
	c.total += info.Size()
	full := c.total > c.most
	c.mu.Unlock()
	if full {
		return c.prune()
	}
	return nil
}

func (c *codeCache) drop(entry string) { _ = c.root.Remove(entry + codeExt) } // absent is as well

// prune removes files that an earlier process left unfinished and, when all entries are more
// than the bound, those that were used longest ago.
func (c *codeCache) prune() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	list, err := fs.ReadDir(c.root.FS(), ".")
	if err != nil {
		return err
	}
	var entries []fs.FileInfo
	total := int64(0)
	for _, d := range list {
		info, err := d.Info()
		if err != nil {
			continue // gone meanwhile
		}
		switch {
		case strings.HasSuffix(d.Name(), codeExt):
			entries = append(entries, info)
			total += info.Size()
		case strings.HasSuffix(d.Name(), ".tmp") && time.Since(info.ModTime()) > time.Hour:
			_ = c.root.Remove(d.Name())
		}
	}
	slices.SortFunc(entries, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, e := range entries {
		if total <= c.most {
			break
		}
		if err := c.root.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("prune the code cache: %w", err)
		}
		total -= e.Size()
	}
	c.total = total
	return nil
}

func (c *codeCache) close() error { return c.root.Close() }

// programName identifies this program by its bytes: another build may meter or compile
// in another way.
func programName() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}
