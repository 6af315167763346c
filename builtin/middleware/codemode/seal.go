package codemode

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// sealer encrypts logs of runs, which travel with the caller's messages: their results are the server's word, and nobody
// else may write them. What a caller does with a whole log, such as to continue from it twice, is the caller's to decide, as it is to
// send a message again.
type sealer struct{ aead cipher.AEAD }

// sealPrefix tells the form of the log.
const sealPrefix = "v1."

func newSealer(key []byte) (*sealer, error) {
	if len(key) == 0 {
		key = make([]byte, 32)
		_, _ = rand.Read(key) // it never fails
	}
	derived := sha256.Sum256(append([]byte("genkit-wasm code mode v1\x00"), key...))
	block, err := aes.NewCipher(derived[:])
	if err != nil {
		return nil, status.Errorf(status.Internal, "code mode: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, status.Errorf(status.Internal, "code mode: %w", err)
	}
	return &sealer{aead}, nil
}

// seal returns the log as text. about is what it is bound to.
func (s *sealer) seal(l *runLog, about []byte) (string, error) {
	raw, err := json.Marshal(l)
	if err != nil {
		return "", status.Errorf(status.Internal, "code mode: encode a log: %w", err)
	}
	if len(raw) > MaxLogBytes {
		return "", status.Publicf(status.ResourceExhausted, "the tools gave %d bytes of results before one of them asked for an answer, and a run that is to be continued may have %d", len(raw), MaxLogBytes)
	}
	return sealPrefix + base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, raw, about)), nil
}

// open is the reverse of seal: INVALID_ARGUMENT for what this key has not sealed for this.
func (s *sealer) open(text string, about []byte) (*runLog, error) {
	refused := status.Publicf(status.InvalidArgument, "the log of the interrupted code is not one that this server has written for this code and caller; run the code again")
	if len(text) < len(sealPrefix) || len(text) > 2*MaxLogBytes || text[:len(sealPrefix)] != sealPrefix {
		return nil, refused
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text[len(sealPrefix):])
	if err != nil {
		return nil, refused
	}
	raw, err := s.aead.Open(nil, nil, sealed, about)
	if err != nil {
		return nil, refused
	}
	l := &runLog{}
	if err := json.Unmarshal(raw, l); err != nil {
		return nil, refused
	}
	return l, nil
}

// binding is what a log is bound to: whose it is, which request of which code, length by length.
func binding(scope, ref, code string) []byte {
	h := sha256.New()
	for _, part := range []string{scope, ref, code} {
		sum := sha256.Sum256([]byte(part))
		h.Write(sum[:])
	}
	return h.Sum(nil)
}
