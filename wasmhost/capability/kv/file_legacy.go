package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// Up to version 1 all values were in one file of bbolt's: in a bucket for each tenant one
// for each module, in that "data" and the counters of what it holds. It is read here, once,
// by a reader of our own: bbolt takes what a page says for true, and a damaged file makes it
// panic or turn in circles.

// takeOver takes over what an earlier version has left at path.
func (f *File) takeOver(path string) error {
	damagedPath := path + ".damaged"
	unread := func() {
		f.unread = "values of an earlier version can't be read: " + damagedPath + "; remove it to go on without them"
	}
	if _, err := os.Stat(damagedPath); err == nil {
		unread()
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		// It may have been renamed by a process that ended before that was synced. If a
		// power cut undid it, old values would be taken over once more.
		return syncAbove(path)
	}
	if err == nil && !info.Mode().IsRegular() {
		return nil
	}
	var raw []byte
	if err == nil {
		raw, err = os.ReadFile(path)
	}
	if err != nil {
		return status.Errorf(status.FailedPrecondition, "kv: read %s: %w", path, err)
	}
	spaces, err := readLegacy(raw)
	if err != nil {
		unread()
		return moveAside(path, damagedPath)
	}
	for ns, payloads := range spaces {
		if err := f.space(ns).add(payloads); err != nil && !errors.Is(err, status.ErrDataLoss) {
			return status.Errorf(status.Unavailable, "kv: take over %s: %w", path, err)
		}
	}
	return moveAside(path, path+".migrated")
}

// add makes changes of an earlier version on top of what is there: there is something when
// an earlier version was used once more in between.
func (s *fileSpace) add(payloads [][]byte) error {
	defer s.unload()
	err := s.load()
	for _, payload := range payloads {
		if err == nil {
			err = s.load()
		}
		if err == nil {
			err = s.commit(payload)
		}
	}
	return err
}

func moveAside(path, to string) error {
	if err := os.Rename(path, to); err != nil {
		return status.Errorf(status.FailedPrecondition, "kv: %w", err)
	}
	return syncAbove(path)
}

// syncAbove writes the names beside path to the disk.
func syncAbove(path string) error {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err == nil {
		err = errors.Join(storedir.Sync(dir, "."), dir.Close())
	}
	if err != nil {
		return status.Errorf(status.FailedPrecondition, "kv: %w", err)
	}
	return nil
}

// readLegacy returns the values of each namespace as payloads of a [fileSpace]. It fails
// with DATA_LOSS when anything does not fit.
func readLegacy(raw []byte) (spaces map[Namespace][][]byte, err error) {
	if len(raw) == 0 { // made and never written
		return nil, nil
	}
	b := &boltFile{raw: raw, seen: map[uint64]bool{}}
	defer func() {
		if r := recover(); r != nil { // a bound that was not checked
			spaces, err = nil, status.Errorf(status.DataLoss, "%v", r)
		}
	}()
	root, err := b.open()
	if err != nil {
		return nil, err
	}
	spaces = map[Namespace][][]byte{}
	err = b.buckets(root, func(name, value []byte) error {
		if string(name) != "genkit-wasm/kv/1" {
			return b.damaged("bucket %q", name)
		}
		return b.buckets(value, func(tenant, value []byte) error {
			return b.buckets(value, func(module, value []byte) error {
				payloads, err := b.namespace(value)
				spaces[Namespace{string(tenant), string(module)}] = payloads
				return err
			})
		})
	})
	if err == nil {
		err = b.complete()
	}
	return spaces, err
}

// namespace reads one module's values and holds them against its counters.
func (b *boltFile) namespace(bucket []byte) (payloads [][]byte, err error) {
	var counted, told usage
	var payload []byte
	err = b.each(bucket, func(key, value []byte, isBucket bool) error {
		switch {
		case string(key) == "counts" && !isBucket && len(value) == 16:
			told = usage{int64(binary.BigEndian.Uint64(value)), int64(binary.BigEndian.Uint64(value[8:]))} //nolint:gosec // compared only
			return nil
		case string(key) != "data" || !isBucket:
			return b.damaged("key %q", key)
		}
		return b.each(value, func(key, value []byte, isBucket bool) error {
			if isBucket || len(value) < 8 || CheckKey(string(key)) != nil {
				return b.damaged("key %q", key)
			}
			expires, value := int64(binary.BigEndian.Uint64(value)), value[8:] //nolint:gosec // as it was written
			if !plausible(expires) {
				return b.damaged("the end of %q", key)
			}
			if text, err := compact(value); err != nil || !bytes.Equal(text, value) {
				return b.damaged("the value of %q", key)
			}
			counted.keys++
			counted.bytes += costOf(string(key), len(value))
			if len(payload) > 1<<20 {
				payloads, payload = append(payloads, payload), nil
			}
			payload = appendSet(payload, string(key), value, expires)
			return nil
		})
	})
	if err == nil && counted != told {
		err = b.damaged("%v values where %v were counted", counted, told)
	}
	if len(payload) > 0 {
		payloads = append(payloads, payload)
	}
	return payloads, err
}

// plausible says whether an entry can end then: there were no checksums, but no version
// before 2020, and no value lives longer than [MaxTTL].
func plausible(expires int64) bool {
	return expires == 0 || expires > time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano() && expires < time.Now().Add(MaxTTL+24*time.Hour).UnixNano()
}

// boltFile reads bbolt's format, version 2: pages, each with a head (its number u64, flags
// u16, how many elements u16, how many pages more it takes u32), of which two at the
// beginning say where the tree of the root bucket and the list of free pages are. All pages
// have to be either in a tree, once, or free.
type boltFile struct {
	raw      []byte
	pageSize uint64
	pages    uint64
	free     uint64 // the page of the list
	seen     map[uint64]bool
}

const (
	boltBranch   = 0x01
	boltLeaf     = 0x02
	boltFreelist = 0x10
	boltHead     = 16
	boltElement  = 16
	boltIsBucket = 0x01
	boltMagic    = 0xED0CDAED
	boltDepth    = 64
)

func (b *boltFile) damaged(format string, args ...any) error {
	return status.Errorf(status.DataLoss, "kv: the file of an earlier version is damaged: "+format, args...)
}

// open finds the newer of the two meta pages that is whole and returns the root bucket.
func (b *boltFile) open() (root []byte, err error) {
	var newest uint64
	for size := uint64(1 << 9); size <= 1<<16; size <<= 1 {
		for page := range uint64(2) {
			at := page*size + boltHead
			if uint64(len(b.raw)) < at+64 {
				continue
			}
			m := b.raw[at : at+64]
			sum := fnv.New64a()
			_, _ = sum.Write(m[:56])
			if le32(m) != boltMagic || le32(m[4:]) != 2 || uint64(le32(m[8:])) != size || sum.Sum64() != le64(m[56:]) {
				continue
			}
			if txid := le64(m[48:]); root == nil || txid > newest {
				newest, root = txid, m[16:32]
				b.pageSize, b.free, b.pages = size, le64(m[32:]), le64(m[40:])
			}
		}
	}
	if root == nil || b.pages > uint64(len(b.raw))/b.pageSize {
		return nil, b.damaged("its beginning, or its end is missing")
	}
	b.seen[0], b.seen[1] = true, true
	return root, nil
}

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// page returns a page that was not looked at yet.
func (b *boltFile) page(id uint64) ([]byte, error) {
	if id < 2 || id >= b.pages {
		return nil, b.damaged("there is no page %d", id)
	}
	at := id * b.pageSize
	more := uint64(le32(b.raw[at+12:]))
	if le64(b.raw[at:]) != id || more >= b.pages-id {
		return nil, b.damaged("page %d", id)
	}
	for i := id; i <= id+more; i++ {
		if b.seen[i] {
			return nil, b.damaged("page %d is in two places", i)
		}
		b.seen[i] = true
	}
	return b.raw[at : at+(more+1)*b.pageSize], nil
}

// buckets calls fn for the buckets in a bucket, which may hold nothing else.
func (b *boltFile) buckets(bucket []byte, fn func(name, value []byte) error) error {
	return b.each(bucket, func(key, value []byte, isBucket bool) error {
		if !isBucket {
			return b.damaged("key %q", key)
		}
		return fn(key, value)
	})
}

// each calls fn for what is in a bucket, in the order of the keys.
func (b *boltFile) each(bucket []byte, fn func(key, value []byte, isBucket bool) error) error {
	if len(bucket) < 16 {
		return b.damaged("a bucket")
	}
	w := &boltWalk{boltFile: b, fn: fn}
	if root := le64(bucket); root != 0 {
		return w.walk(root, 0)
	}
	return w.elements(bucket[16:], 0)
}

type boltWalk struct {
	*boltFile
	fn   func(key, value []byte, isBucket bool) error
	last []byte
}

func (w *boltWalk) walk(id uint64, depth int) error {
	page, err := w.page(id)
	if err != nil {
		return err
	}
	return w.elements(page, depth)
}

func (w *boltWalk) elements(page []byte, depth int) error {
	if len(page) < boltHead || depth > boltDepth {
		return w.damaged("a page")
	}
	flags, count := le16(page[8:]), int(le16(page[10:]))
	if flags != boltBranch && flags != boltLeaf || len(page) < boltHead+count*boltElement {
		return w.damaged("a page")
	}
	for i := range count {
		e := page[boltHead+i*boltElement:]
		if flags == boltBranch {
			key, err := w.slice(e, uint64(le32(e)), uint64(le32(e[4:])))
			if err != nil || w.last != nil && bytes.Compare(w.last, key) >= 0 {
				return w.damaged("the order of keys")
			}
			if err := w.walk(le64(e[8:]), depth+1); err != nil {
				return err
			}
			continue
		}
		pos, ksize, vsize := uint64(le32(e[4:])), uint64(le32(e[8:])), uint64(le32(e[12:]))
		key, err := w.slice(e, pos, ksize)
		if err != nil {
			return err
		}
		value, err := w.slice(e, pos+ksize, vsize)
		if err != nil {
			return err
		}
		if w.last != nil && bytes.Compare(w.last, key) >= 0 || le32(e) > boltIsBucket {
			return w.damaged("the order of keys")
		}
		w.last = key
		if err := w.fn(key, value, le32(e) == boltIsBucket); err != nil {
			return err
		}
	}
	return nil
}

func (w *boltWalk) slice(e []byte, pos, size uint64) ([]byte, error) {
	if pos < boltElement || pos+size > uint64(len(e)) {
		return nil, w.damaged("an element")
	}
	return e[pos : pos+size : pos+size], nil
}

// complete wants every page that was not seen on the list of free ones, and no other.
func (b *boltFile) complete() error {
	page, err := b.page(b.free)
	if err != nil {
		return err
	}
	list, count := page[boltHead:], uint64(le16(page[10:]))
	if count == 0xFFFF {
		count, list = le64(list), list[8:]
	}
	if le16(page[8:]) != boltFreelist || count > uint64(len(list))/8 {
		return b.damaged("the list of free pages")
	}
	for i := range count {
		id := le64(list[8*i:])
		if id >= b.pages || b.seen[id] {
			return b.damaged("page %d is free and in use", id)
		}
		b.seen[id] = true
	}
	if uint64(len(b.seen)) != b.pages {
		return b.damaged("%s", fmt.Sprint(b.pages-uint64(len(b.seen)), " pages are lost"))
	}
	return nil
}
