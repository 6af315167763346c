package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// The form of a key's token: "gwk_", the key's id, "_", and 256 random bits. Id and secret
// are base32 in small letters: no part has to be quoted anywhere, and a scanner for secrets
// finds it as gwk_[a-z2-7]{16}_[a-z2-7]{52}.
const (
	TokenPrefix = "gwk_"
	idLen       = 16
	idBytes     = idLen * 5 / 8
	secretLen   = 52
	secretBytes = 32
	tokenLen    = len(TokenPrefix) + idLen + 1 + secretLen
)

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func randomText(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return lowerBase32.EncodeToString(b)
}

// newToken returns a new token of a key.
func newToken(id string) string { return TokenPrefix + id + "_" + randomText(secretBytes) }

// idOf returns the id in a token; false for what has not the form of one.
func idOf(token string) (string, bool) {
	if len(token) != tokenLen || !strings.HasPrefix(token, TokenPrefix) {
		return "", false
	}
	id := token[len(TokenPrefix) : len(TokenPrefix)+idLen]
	return id, token[len(TokenPrefix)+idLen] == '_' && isID(id)
}

// tokens finds what has the form of a key's token, also one that is cut.
var tokens = regexp.MustCompile(TokenPrefix + `([a-z2-7]{16})_[a-z2-7]+`)

// Redact cuts the tokens of keys in a text to their ids. A key that was
// written into the wrong place of a request is then in no log.
func Redact(text string) string {
	if !strings.Contains(text, TokenPrefix) {
		return text
	}
	return tokens.ReplaceAllString(text, TokenPrefix+"${1}_…")
}

// token finds the whole token of a key.
var token = regexp.MustCompile(TokenPrefix + `[a-z2-7]{16}_[a-z2-7]{52}`)

// HasToken says whether a text contains the whole token of a key, whether or not there is such a key. Names and other texts
// that are stored and answered refuse it: somebody has put a key into the wrong place.
func HasToken(text string) bool { return token.MatchString(text) }

func isID(id string) bool {
	return len(id) == idLen && !strings.ContainsFunc(id, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '2' || r > '7') })
}

// State says whether a key lets anybody in.
type State string

// The states of a key.
const (
	Active  State = "active"
	Expired State = "expired"
	// Revoked is a key that lets nobody in any more, but whose record could not be
	// removed from the store: revoke it once more.
	Revoked State = "revoked"
	// Damaged is a key whose record can't be read; it lets nobody in. Revoke it.
	Damaged State = "damaged"
)

// Key is what is told of an API key. Its secret is not among it.
type Key struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Scopes Scopes `json:"scopes"`
	State  State  `json:"state"`
	// CreatedAt and the other times are in UTC, to the second; zero where there is none.
	CreatedAt time.Time `json:"createdAt,omitzero"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	// RotatedAt is when the secret was last replaced; until PreviousUntil the one
	// before works too.
	RotatedAt     time.Time `json:"rotatedAt,omitzero"`
	PreviousUntil time.Time `json:"previousUntil,omitzero"`
	// LastUsedAt is when the key last let somebody in; it is up to a few minutes old
	// after a crash.
	LastUsedAt time.Time `json:"lastUsedAt,omitzero"`
	// Revision changes with each change of the key, and not with its use.
	Revision string `json:"-"`
}

// KeySpec is what a new key is to be.
type KeySpec struct {
	// Name is for people: 1 to 128 printable characters, and no token of a key among them.
	Name string `json:"name"`
	// Scopes are at least one.
	Scopes Scopes `json:"scopes"`
	// ExpiresAt is when the key ends; zero does not come.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	// Request is a hash of the request that makes the key, where that may be sent again: within
	// 24 hours no second key is made for it. Empty is none.
	Request string `json:"-"`
}

const (
	maxName = 128
	// keepRequest is how long a key remembers the request that made or rotated it.
	keepRequest = 24 * time.Hour
)

// madeError says that a request has made or rotated a key before.
type madeError struct{ id string }

func (e *madeError) Error() string { return "the request was carried out before, for the key " + e.id }

// MadeBefore returns the id of the key that an earlier request of the same hash has made or rotated,
// where err, of [Keys.Create] or [Keys.RotateOnce], is about that.
func MadeBefore(err error) (id string, ok bool) {
	made, ok := errors.AsType[*madeError](err)
	if !ok {
		return "", false
	}
	return made.id, true
}

func madeBefore(id string) error {
	return status.Publicf(status.AlreadyExists, "the request was carried out before, for the key %q", id).WithCause(&madeError{id})
}

func (s KeySpec) check(now time.Time) error {
	switch {
	case s.Name == "" || utf8.RuneCountInString(s.Name) > maxName || !utf8.ValidString(s.Name) ||
		strings.ContainsFunc(s.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return status.Publicf(status.InvalidArgument, "\"name\" wants 1 to %d printable characters", maxName)
	case HasToken(s.Name):
		return status.Publicf(status.InvalidArgument, "\"name\" contains the token of an API key, which would be stored and shown with it")
	case !s.Scopes.Admin && len(s.Scopes.Tenants) == 0:
		return status.Publicf(status.InvalidArgument, "\"scopes\" wants at least one, such as \"acme:invoke\"")
	case len(s.Scopes.Tenants) > MaxScopes:
		return status.Publicf(status.InvalidArgument, "%d scopes exceed the limit of %d", len(s.Scopes.Tenants), MaxScopes)
	}
	return checkExpiry(s.ExpiresAt, now)
}

func checkExpiry(at, now time.Time) error {
	if !at.IsZero() && !at.After(now) {
		return status.Publicf(status.InvalidArgument, "\"expiresAt\" is not in the future")
	}
	if at.Year() > 9999 {
		return status.Publicf(status.InvalidArgument, "\"expiresAt\" is too far in the future")
	}
	return nil
}

// record is a key as it is stored.
type record struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Scopes    Scopes    `json:"scopes"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	RotatedAt time.Time `json:"rotatedAt,omitzero"`
	// Hash is the SHA-256 of the token, Previous of the one before, which is good until
	// PreviousUntil.
	Hash          hash      `json:"hash"`
	Previous      *hash     `json:"previous,omitempty"`
	PreviousUntil time.Time `json:"previousUntil,omitzero"`
	// MadeBy and RotatedBy are hashes of requests; see [KeySpec].
	MadeBy    string `json:"madeBy,omitempty"`
	RotatedBy string `json:"rotatedBy,omitempty"`
}

// revision tells the record from others of the key. It tells nothing of the secret, which is in it as a hash.
func (r *record) revision() string {
	raw, err := json.Marshal(r)
	if err != nil { // what was read or written encodes
		return ""
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:12])
}

// made reports whether a request has made the key.
func (r *record) made(request string, now time.Time) bool {
	return request != "" && r.MadeBy == request && now.Sub(r.CreatedAt) < keepRequest
}

// rotated reports whether a request was the last that rotated the key.
func (r *record) rotated(request string, now time.Time) bool {
	return request != "" && r.RotatedBy == request && now.Sub(r.RotatedAt) < keepRequest
}

type hash [sha256.Size]byte

func hashOf(token string) hash { return sha256.Sum256([]byte(token)) }

// decodeRecord fails for what Keys has not written.
func decodeRecord(id string, raw []byte) (record, error) {
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, err
	}
	if r.ID != id || !isID(id) || r.Hash == (hash{}) || r.CreatedAt.IsZero() {
		return r, status.Errorf(status.DataLoss, "the record %q is none of a key", id)
	}
	return r, nil
}

// MarshalText writes a hash in hex.
func (h hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads what MarshalText writes.
func (h *hash) UnmarshalText(text []byte) error {
	if len(text) != 2*len(h) {
		return status.Errorf(status.DataLoss, "a hash of %d characters", len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}
