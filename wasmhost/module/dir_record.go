package module

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

const digestPrefix = "sha256:"

// stored is the content of a module's directory.
type stored struct {
	records []Record // oldest first; damaged ones with Problem
	pointer
	problem  string // why the pointer can't be read
	raw      []byte // the pointer's file
	unsummed bool   // the pointer was written by a version without checksums
	leftover []int  // pruned revisions whose record file still exists
}

// currentRecord returns the record that is served, or one that says why none is.
func (h *stored) currentRecord(tenant, name string) Record {
	for _, rec := range h.records {
		if rec.Current {
			return rec
		}
	}
	problem := h.problem
	if problem == "" {
		problem = fmt.Sprintf("the record of revision %d is missing", h.Current)
	}
	rec := damaged(tenant, name, h.Current, problem)
	rec.Current = true
	return rec
}

// history reads a module's directory; fs.ErrNotExist when there is none. Records of
// uploads that did not finish are skipped.
func (d *Dir) history(tenant, name string) (*stored, error) {
	dir := moduleDir(tenant, name)
	entries, err := d.files.ReadDir(dir)
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, storedir.ErrIrregular
	}
	if err != nil {
		return nil, err
	}
	there := revisionsIn(entries)
	h := &stored{}
	h.raw, err = d.files.ReadFile(dir+"/"+pointerFile, maxPointerBytes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, storedir.ErrIrregular) {
		return nil, err
	}
	if p, unsummed, ok := decodePointer(h.raw, tenant, name); ok {
		h.pointer, h.unsummed = p, unsummed
	} else {
		h.raw = append([]byte{}, h.raw...) // not nil, also when there is none
		h.problem = "the pointer to the current revision is damaged; upload the module again or roll back to a revision"
		if len(there) > 0 {
			h.Pruned, h.Latest = there[0]-1, there[len(there)-1]
		}
	}
	for _, revision := range there {
		if revision <= h.Pruned {
			h.leftover = append(h.leftover, revision)
		}
	}
	for revision := h.Pruned + 1; revision <= h.Latest; revision++ {
		rec, err := d.readRecord(dir, tenant, name, revision)
		if err != nil {
			return nil, err
		}
		rec.Current = revision == h.Current
		h.records = append(h.records, rec)
	}
	return h, nil
}

func revisionsIn(entries []fs.DirEntry) []int {
	var revisions []int
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), recordExt)
		if !ok {
			continue
		}
		if revision, err := strconv.Atoi(digits); err == nil && revision > 0 && strconv.Itoa(revision) == digits {
			revisions = append(revisions, revision)
		}
	}
	slices.Sort(revisions)
	return revisions
}

// readRecord reads one record. If its file is missing or damaged, the result has Problem
// set. An error means that the file could not be read for another reason, and nothing is
// known about its content.
func (d *Dir) readRecord(dir, tenant, name string, revision int) (Record, error) {
	raw, err := d.files.ReadFile(dir+"/"+strconv.Itoa(revision)+recordExt, maxRecordBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return damaged(tenant, name, revision, fmt.Sprintf("the record of revision %d is missing", revision)), nil
	case err != nil && !errors.Is(err, storedir.ErrIrregular):
		return Record{}, err
	}
	rec, ok := decodeRecord(raw)
	if err != nil || !ok || rec.Tenant != tenant || rec.Name != name || rec.Revision != revision {
		return damaged(tenant, name, revision, "the stored record is damaged"), nil
	}
	return rec, nil
}

// damaged returns a record that holds only its names, its revision and the problem.
func damaged(tenant, name string, revision int, problem string) Record {
	return Record{Tenant: tenant, Name: name, Revision: revision, Capabilities: []string{}, Actions: []string{}, Problem: problem}
}

// pointer is the file current: `{"current":2,"latest":5,"pruned":1,"sum":"<hex>"}`, the sum
// being the SHA-256 of the module's names and the numbers. Older versions wrote current and
// latest alone.
type pointer struct {
	Current int `json:"current"`
	// Latest is the highest revision that was ever current. A record beyond it
	// belongs to an upload that was never finished.
	Latest int `json:"latest"`
	// Pruned is the highest revision that was pruned, with all before it.
	Pruned int `json:"pruned"`
}

// Bounds of files that are read; a larger one was not written here.
const (
	maxPointerBytes = 1 << 10
	maxRecordBytes  = 64 << 20
)

func (p pointer) encode(tenant, name string) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %d %d", tenant, name, p.Current, p.Latest, p.Pruned))
	return fmt.Appendf(nil, "{\"current\":%d,\"latest\":%d,\"pruned\":%d,\"sum\":\"%x\"}\n", p.Current, p.Latest, p.Pruned, sum)
}

func (p pointer) encodeUnsummed() []byte {
	return fmt.Appendf(nil, "{\"current\":%d,\"latest\":%d}\n", p.Current, p.Latest)
}

// decodePointer parses a pointer file. It accepts only the exact bytes that encode or
// encodeUnsummed writes, so that a damaged file is never taken for a valid one.
func decodePointer(raw []byte, tenant, name string) (p pointer, unsummed, ok bool) {
	if json.Unmarshal(raw, &p) != nil || p.Pruned < 0 || p.Current <= p.Pruned || p.Latest < p.Current {
		return pointer{}, false, false
	}
	unsummed = bytes.Equal(raw, p.encodeUnsummed())
	if !unsummed && !bytes.Equal(raw, p.encode(tenant, name)) {
		return pointer{}, false, false
	}
	return p, unsummed, true
}

// encodeRecord writes a line with the checksum of what follows, and the record.
func encodeRecord(rec Record) ([]byte, error) {
	body, err := rawjson.Encode(rec) // a descriptor comes back byte by byte
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	return append([]byte(Digest(body)+"\n"), body...), nil
}

func decodeRecord(raw []byte) (rec Record, ok bool) {
	sum, body, found := bytes.Cut(raw, []byte("\n"))
	if !found || string(sum) != Digest(body) || json.Unmarshal(body, &rec) != nil {
		return Record{}, false
	}
	_, ok = blobPath(rec.Digest)
	return rec, ok
}

func blobPath(digest string) (string, bool) {
	sum, ok := strings.CutPrefix(digest, digestPrefix)
	if b, err := hex.DecodeString(sum); !ok || err != nil || len(b) != 32 || sum != strings.ToLower(sum) {
		return "", false
	}
	return blobsDir + "/" + sum + blobExt, true
}

func tenantDir(tenant string) string { return tenantsDir + "/" + encodeName(tenant) }

func moduleDir(tenant, name string) string { return tenantDir(tenant) + "/" + encodeName(name) }

// encodeName writes a checked name so that it is safe as a file's name: "m-" keeps
// it from being a device's ("con"), upper case is marked, and a full stop at the
// end, which some systems drop, too.
func encodeName(name string) string {
	var b strings.Builder
	b.WriteString("m-")
	for i, r := range name {
		switch {
		case r >= 'A' && r <= 'Z':
			b.WriteByte('!')
			b.WriteRune(r - 'A' + 'a')
		case r == '.' && i == len(name)-1:
			b.WriteString("!.!")
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func decodeName(file string) (string, bool) {
	rest, ok := strings.CutPrefix(file, "m-")
	if !ok {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		switch {
		case rest[i] != '!':
			b.WriteByte(rest[i])
		case strings.HasPrefix(rest[i:], "!.!"):
			b.WriteByte('.')
			i += 2
		case i+1 < len(rest) && rest[i+1] >= 'a' && rest[i+1] <= 'z':
			i++
			b.WriteByte(rest[i] - 'a' + 'A')
		default:
			return "", false
		}
	}
	name := b.String()
	return name, abi.CheckModuleName(name) == nil && encodeName(name) == file
}
