package secrets

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
)

// Keys encrypt values with the first of them, and decrypt with each. They print as nothing
// but their type.
type Keys struct {
	all []age.Identity
	to  age.Recipient // of the first
}

const maxKeyBytes = 64 << 10

// ParseKeys reads age identities, one a line, as "age-keygen" and [NewKey] write them; empty
// lines and those that begin with "#" are skipped. It fails with INVALID_ARGUMENT when there
// is none, or what is there is none that can encrypt. Its errors hold nothing of the text.
func ParseKeys(text []byte) (*Keys, error) {
	if len(text) > maxKeyBytes {
		return nil, status.Publicf(status.InvalidArgument, "the key for secrets has more than %d bytes", maxKeyBytes)
	}
	all, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil { // whose text may hold the key
		return nil, status.Publicf(status.InvalidArgument, "the key for secrets is not one: want AGE-SECRET-KEY-1…, one a line, as \"genkit-wasm secret key\" makes it")
	}
	k := &Keys{all: all}
	switch first := all[0].(type) {
	case *age.X25519Identity:
		k.to = first.Recipient()
	case *age.HybridIdentity:
		k.to = first.Recipient()
	default:
		return nil, status.Publicf(status.InvalidArgument, "the first key for secrets is of a type that can't encrypt")
	}
	return k, nil
}

// NewKey returns the text of a new key.
func NewKey() (string, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", status.Errorf(status.Internal, "make a key for secrets: %w", err)
	}
	return id.String(), nil
}

// String hides the keys.
func (*Keys) String() string { return "secrets.Keys" }

// GoString hides the keys.
func (*Keys) GoString() string { return "secrets.Keys" }

// Of what is encrypted, the first bytes are the hash of the record's head. So a value can't
// be opened as one of another tenant or name, or of an earlier time, than the one it was set for.
const bindingBytes = sha256.Size

// seal encrypts a value into a record.
func (k *Keys) seal(r *record, value secret.Value) error {
	line, err := r.head.line()
	if err != nil {
		return err
	}
	r.headLine = line
	var b bytes.Buffer
	w, err := age.Encrypt(&b, k.to)
	if err == nil {
		binding := sha256.Sum256(line)
		_, err = w.Write(append(binding[:], value.Reveal()...))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return status.Errorf(status.Internal, "encrypt the %s %q: %w", r.head.Kind, r.head.Name, err)
	}
	r.sealed = b.Bytes()
	return nil
}

// errWrongKey is in the chain of an error for a value that no key opens.
var errWrongKey = errors.New("no key opens it")

// open decrypts a record: FAILED_PRECONDITION without a key that opens it, DATA_LOSS when it
// is not what was stored.
func (k *Keys) open(r *record) (secret.Value, error) {
	if k == nil {
		return secret.Value{}, status.Publicf(status.FailedPrecondition, "the %s %q can't be used: the server was started without the key that opens it", r.head.Kind, r.head.Name).WithCause(errWrongKey)
	}
	return openWith(r, k.all)
}

func damaged(kind Kind, name string) *status.Error {
	return status.Publicf(status.DataLoss, "what is stored of the %s %q is damaged; set it again", kind, name)
}

func openWith(r *record, keys []age.Identity) (secret.Value, error) {
	broken := func(err error) (secret.Value, error) {
		return secret.Value{}, damaged(r.head.Kind, r.head.Name).WithCause(err)
	}
	plain, err := age.Decrypt(bytes.NewReader(r.sealed), keys...)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return secret.Value{}, status.Publicf(status.FailedPrecondition, "the %s %q can't be used: the server's key does not open it", r.head.Kind, r.head.Name).WithCause(errors.Join(errWrongKey, err))
	}
	if err != nil {
		return broken(err)
	}
	const most = bindingBytes + secret.MaxBytes
	content, err := io.ReadAll(io.LimitReader(plain, most+1))
	if err != nil {
		return broken(err)
	}
	binding := sha256.Sum256(r.headLine)
	if len(content) < bindingBytes || len(content) > most || subtle.ConstantTimeCompare(binding[:], content[:bindingBytes]) != 1 {
		return broken(fmt.Errorf("it was encrypted for another place"))
	}
	return secret.New(string(content[bindingBytes:])), nil
}

// fresh reports whether the first key opens a record.
func (k *Keys) fresh(r *record) bool {
	_, err := openWith(r, k.all[:1])
	return err == nil
}
