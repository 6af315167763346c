package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Entry is one line of the log. As JSON it is what is hashed, but for the hash itself:
//
//	{"seq":7,"at":"2026-01-31T12:00:00Z","who":"key:abc","from":"192.0.2.1","what":"putModule",
//	 "on":"/v1/tenants/acme/modules/calc","result":"201","request":"…","of":6,"hash":"…"}
type Entry struct {
	// Seq counts the entries of a log from 1.
	Seq uint64 `json:"seq"`
	// At is when it was written, in milliseconds of UTC.
	At time.Time `json:"at"`
	// Who is the subject of the identity that did it; empty where nobody is asked, or
	// nobody was recognized.
	Who string `json:"who,omitempty"`
	// From is the address that the request came from; of entries that are counted, the
	// network.
	From string `json:"from,omitempty"`
	// What is the operation, such as "createTenant".
	What string `json:"what"`
	// On is the path of the object.
	On string `json:"on,omitempty"`
	// Result is "begun" before a change is made, then the HTTP status, and the Genkit code
	// where it failed: "201", "409 ALREADY_EXISTS".
	Result string `json:"result"`
	// Request is the id of the request, by which the server's log has it, too.
	Request string `json:"request,omitempty"`
	// Of is the number of the entry that told that this change begun.
	Of uint64 `json:"of,omitempty"`
	// Count is how often it happened, of entries that are counted.
	Count int `json:"count,omitempty"`
	// Removed says which entries an entry "removeAudit" stands for; nil in others.
	Removed *Removal `json:"removed,omitempty"`
	// Hash is SHA-256, in hexadecimal digits, over the hash of the entry before (32 zero
	// bytes for the first) and this entry's JSON without the hash.
	Hash string `json:"hash,omitempty"`
}

// Removal is what an entry says of entries that were removed because they were old: it stands for
// them in the chain, so that their absence can be told from somebody's deletion.
type Removal struct {
	// Through is the number of the last one, Hash its hash.
	Through uint64 `json:"through"`
	Hash    string `json:"hash"`
}

// Begun is the result of an entry that is written before its change is made.
const Begun = "begun"

// RepairWhat is the operation of an entry that tells of a file which was set aside because the log was damaged.
const RepairWhat = "repairAudit"

const (
	hashBytes = sha256.Size
	// maxEntryBytes bounds the JSON of an entry. The bounds of its texts keep it within.
	maxEntryBytes = 12 << 10
)

// token finds API keys, whose secrets somebody may have written into a path.
var token = regexp.MustCompile(`gwk_([a-z2-7]{16})_[a-z2-7]+`)

// bounded returns the entry with texts of one line and of a bounded length, without secrets
// of API keys.
func (e Entry) bounded() Entry {
	for text, most := range map[*string]int{&e.Who: 512, &e.From: 64, &e.What: 64, &e.On: 512, &e.Result: 64, &e.Request: 128} {
		*text = abi.Line(token.ReplaceAllString(*text, "gwk_${1}_…"), most)
	}
	e.Hash, e.Removed = "", nil // the log itself says what was removed
	return e
}

// seal numbers an entry after the one before it, hashes it, and returns what is stored: the
// hash and the JSON.
func seal(e *Entry, before head) ([]byte, head, error) {
	e.Seq, e.Hash = before.seq+1, ""
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, before, status.Errorf(status.Internal, "encode an entry of the audit log: %w", err)
	}
	at := head{e.Seq, chain(before.hash, raw)}
	e.Hash = hex.EncodeToString(at.hash[:])
	return append(at.hash[:], raw...), at, nil
}

func chain(before [hashBytes]byte, raw []byte) (hash [hashBytes]byte) {
	h := sha256.New()
	_, _ = h.Write(before[:]) // never fails
	_, _ = h.Write(raw)
	copy(hash[:], h.Sum(nil))
	return hash
}

// unseal reads what seal has stored, and checks that it follows the entry before.
func unseal(payload []byte, before head) (Entry, head, error) {
	e, hash, err := decode(payload)
	switch {
	case err != nil:
		return Entry{}, before, status.Errorf(status.DataLoss, "entry %d: %w", before.seq+1, err)
	case e.Seq != before.seq+1:
		return Entry{}, before, status.Errorf(status.DataLoss, "entry %d stands where entry %d should: entries are missing, or were moved", e.Seq, before.seq+1)
	case hash != chain(before.hash, payload[hashBytes:]):
		return Entry{}, before, status.Errorf(status.DataLoss, "entry %d does not follow from the one before: one of them was changed, removed or moved", e.Seq)
	}
	e.Hash = hex.EncodeToString(hash[:])
	return e, head{e.Seq, hash}, nil
}

// decode reads what is stored of an entry. What seal would write otherwise is refused.
func decode(payload []byte) (e Entry, hash [hashBytes]byte, err error) {
	if len(payload) < hashBytes || len(payload) > hashBytes+maxEntryBytes {
		return e, hash, status.Errorf(status.DataLoss, "%d bytes are none of an entry", len(payload))
	}
	copy(hash[:], payload)
	if err := json.Unmarshal(payload[hashBytes:], &e); err != nil {
		return e, hash, status.Errorf(status.DataLoss, "it can't be read: %w", err)
	}
	again, err := json.Marshal(e)
	if err != nil || e.Hash != "" || !bytes.Equal(again, payload[hashBytes:]) {
		return e, hash, status.Errorf(status.DataLoss, "it is not as this package writes it")
	}
	return e, hash, nil
}

// Head is the end of a log.
type Head struct {
	// Seq is the number of the last entry, 0 when there is none.
	Seq uint64
	// Hash is its hash, in hexadecimal digits.
	Hash string
}

// head is the last entry of a chain.
type head struct {
	seq  uint64
	hash [hashBytes]byte
}

func (h head) show() Head { return Head{h.seq, hex.EncodeToString(h.hash[:])} }
