package secrets

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
)

// A value is a file of three parts: a line with the version of the format and the SHA-256 of
// what follows, a line of JSON that says what the value is, and what age has encrypted.

const (
	sumPrefix    = "genkit-wasm-secret/1 sha256:"
	fileSuffix   = ".age"
	tenantPrefix = "t-"
	maxHeadBytes = 2 << 10
	maxFileBytes = secret.MaxBytes + maxHeadBytes + 8<<10
)

// head is what a file tells without a key.
type head struct {
	Tenant    string    `json:"tenant"`
	TenantID  string    `json:"tenantId"`
	Kind      Kind      `json:"kind"`
	Name      string    `json:"name"`
	URL       string    `json:"url,omitempty"` // of a credential
	Revision  string    `json:"revision"`
	ChangedAt time.Time `json:"changedAt"`
}

func (h *head) line() ([]byte, error) {
	line, err := rawjson.Encode(h)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the %s %q: %w", h.Kind, h.Name, err)
	}
	return line, nil
}

// record is a file.
type record struct {
	head     head
	headLine []byte // as it is written
	sealed   []byte
	sum      string // of both, in the first line of the file
}

func (r *record) entry() Entry {
	return Entry{Name: r.head.Name, Revision: r.head.Revision, ChangedAt: r.head.ChangedAt, URL: r.head.URL}
}

func (r *record) key() Key { return Key{r.head.Tenant, r.head.Kind, r.head.Name} }

// dirOf names the directory of a tenant.
func dirOf(tenant string) string {
	if isHashed(tenantPrefix, tenant, "") {
		return tenant
	}
	return storedir.FileName(tenantPrefix, tenant, "")
}

func prefixOf(kind Kind) string { return string(kind) + "-" }

// fileOf names the file of a value.
func fileOf(kind Kind, name string) string {
	if isHashed(prefixOf(kind), name, fileSuffix) {
		return name
	}
	return storedir.FileName(prefixOf(kind), name, fileSuffix)
}

// isHashed reports whether a name is one that [storedir.FileName] gives to a file whose own name would be too long. It
// is longer than any of a tenant or a value, and stands for it where what the file holds can't be read.
func isHashed(prefix, name, suffix string) bool {
	const hashBytes = 2 + 2*sha256.Size
	return len(name) == len(prefix)+hashBytes+len(suffix) && strings.HasPrefix(name, prefix+"_-") && strings.HasSuffix(name, suffix)
}

func encode(r *record) []byte {
	body := bytes.Join([][]byte{r.headLine, r.sealed}, []byte("\n"))
	return append([]byte(sumOf(body)+"\n"), body...)
}

// decode reads a file; false when it is none that was written so.
func decode(raw []byte) (*record, bool) {
	sum, body, found := bytes.Cut(raw, []byte("\n"))
	if !found || string(sum) != sumOf(body) {
		return nil, false
	}
	r := &record{sum: string(sum)}
	if r.headLine, r.sealed, found = bytes.Cut(body, []byte("\n")); !found || len(r.headLine) > maxHeadBytes {
		return nil, false
	}
	if schema.Decode(json.RawMessage(r.headLine), &r.head, schema.RefuseUnknown) != nil {
		return nil, false
	}
	h := &r.head
	return r, h.Tenant != "" && h.TenantID != "" && (h.Kind == Secret || h.Kind == Credential) && h.Name != "" && h.Revision != "" && !h.ChangedAt.IsZero()
}

func sumOf(body []byte) string {
	sum := sha256.Sum256(body)
	return sumPrefix + hex.EncodeToString(sum[:])
}
