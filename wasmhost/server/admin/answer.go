package admin

import (
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"
)

// ErrKeyReused is in the chain of an error when a key came with another request before.
var ErrKeyReused = errors.New("the key was used for another request")

// Answer is the answer to a request that carried a key, kept so that the same request gets it
// again.
type Answer struct {
	Status   int             `json:"status"`
	Location string          `json:"location,omitempty"`
	ETag     string          `json:"etag,omitempty"`
	Body     json.RawMessage `json:"body,omitempty"`
}

const (
	answerKind = "answer"
	// keepAnswers is how long an answer is kept.
	keepAnswers    = 24 * time.Hour
	maxAnswers     = 10_000
	maxAnswerBytes = 32 << 20
	maxKeyBytes    = 255
)

// answers are those that are kept, oldest first.
type answers struct {
	byKey map[string]*list.Element
	order list.List // of *kept
	bytes int
	busy  keyed // by key
}

// kept is an answer as it is stored.
type kept struct {
	Key     string    `json:"key"`     // a hash
	Request string    `json:"request"` // a hash
	At      time.Time `json:"at"`
	Answer  Answer    `json:"answer"`
}

func (k *kept) size() int { return len(k.Answer.Body) + 512 }

// Hash returns the hash of texts, which does not tell where one ends by chance.
func Hash(texts ...string) string {
	h := sha256.New()
	for _, text := range texts {
		sum := sha256.Sum256([]byte(text))
		_, _ = h.Write(sum[:]) // a hash takes all
	}
	return hex.EncodeToString(h.Sum(nil))
}

func usableKey(key string) bool {
	if key == "" || len(key) > maxKeyBytes {
		return false
	}
	for _, c := range []byte(key) {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}
