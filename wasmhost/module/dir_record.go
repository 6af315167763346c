package module

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

const digestPrefix = "sha256:"

// stored is what a module's directory holds.
type stored struct {
	records []Record // oldest first; damaged ones with Problem
	latest  int      // the highest revision that was ever current
	current int
	problem string // why the pointer can't be read
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
		problem = fmt.Sprintf("the record of revision %d is missing", h.current)
	}
	rec := damaged(tenant, name, h.current, problem)
	rec.Current = true
	return rec
}

// history reads a module's directory; fs.ErrNotExist when there is none. Records
// that no pointer ever named are left out.
func (d *Dir) history(tenant, name string) (*stored, error) {
	dir := moduleDir(tenant, name)
	names, err := d.files.list(dir)
	if err != nil {
		return nil, err
	}
	h := &stored{}
	revisions := revisionsIn(names)
	raw, err := d.files.root.ReadFile(dir + "/" + pointerFile)
	p, ok := decodePointer(raw)
	switch {
	case err == nil && ok:
		h.current, h.latest = p.Current, p.Latest
	default:
		h.problem = "the pointer to the current revision is damaged; upload the module again or roll back to a revision"
		if len(revisions) > 0 {
			h.latest = revisions[len(revisions)-1]
		}
	}
	for _, revision := range revisions {
		if revision > h.latest {
			continue
		}
		rec := d.readRecord(dir, tenant, name, revision)
		rec.Current = revision == h.current
		h.records = append(h.records, rec)
	}
	return h, nil
}

func revisionsIn(names []string) []int {
	var revisions []int
	for _, n := range names {
		digits, ok := strings.CutSuffix(n, recordExt)
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

func (d *Dir) readRecord(dir, tenant, name string, revision int) Record {
	raw, err := d.files.root.ReadFile(dir + "/" + strconv.Itoa(revision) + recordExt)
	rec, ok := decodeRecord(raw)
	if err != nil || !ok || rec.Tenant != tenant || rec.Name != name || rec.Revision != revision {
		return damaged(tenant, name, revision, "the stored record is damaged")
	}
	return rec
}

// damaged is a record that says nothing but why.
func damaged(tenant, name string, revision int, problem string) Record {
	return Record{Tenant: tenant, Name: name, Revision: revision, Capabilities: []string{}, Actions: []string{}, Problem: problem}
}

// pointer is the file current: `{"current":2,"latest":5}`.
type pointer struct {
	Current int `json:"current"`
	// Latest is the highest revision that was ever current. A record beyond it
	// belongs to an upload that was never finished.
	Latest int `json:"latest"`
}

func (p pointer) encode() []byte {
	return fmt.Appendf(nil, "{\"current\":%d,\"latest\":%d}\n", p.Current, p.Latest)
}

func decodePointer(raw []byte) (pointer, bool) {
	var p pointer
	err := json.Unmarshal(raw, &p)
	return p, err == nil && p.Current > 0 && p.Latest >= p.Current
}

// encodeRecord writes a line with the checksum of what follows, and the record.
func encodeRecord(rec Record) ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // a descriptor comes back byte by byte
	if err := enc.Encode(rec); err != nil {
		return nil, err
	}
	return append([]byte(Digest(body.Bytes())+"\n"), body.Bytes()...), nil
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

func moduleDir(tenant, name string) string {
	return tenantsDir + "/" + encodeName(tenant) + "/" + encodeName(name)
}

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
