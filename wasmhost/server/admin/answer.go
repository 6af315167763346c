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

// answers are those that are kept, oldest first, of all and of each owner.
type answers struct {
	byKey map[string]*kept
	order list.List // of *kept
	owned map[string]*owned
	bytes int
	most  int   // answers
	busy  keyed // by key
}

// owned are the answers of one owner.
type owned struct {
	order list.List // of *kept
	bytes int
}

// kept is an answer as it is stored.
type kept struct {
	Key     string    `json:"key"`     // a hash
	Request string    `json:"request"` // a hash
	At      time.Time `json:"at"`
	Owner   string    `json:"owner,omitempty"` // as in [Once]
	Answer  Answer    `json:"answer"`
	// Lost says that the answer was damaged. Only Key and At are known then.
	Lost bool `json:"lost,omitempty"`

	inAll, inOwned *list.Element
}

func (k *kept) size() int { return len(k.Answer.Body) + 512 }

// Once says whose a request with a key is.
type Once struct {
	// Key is what the request carried: 1 to 255 visible characters of ASCII.
	Key string
	// Caller is who sent it; empty where nobody is asked. Callers share no keys.
	Caller string
	// Owner is whose answers give way when there are too many: a tenant's name for requests
	// about what it has, empty for those of operators. The owner with the most gives way first.
	Owner string
	// Request is a hash of what is asked for.
	Request string
}

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

// tooMany returns the answer that has to go: one whose time is over, or the oldest of the owner that has
// the most where there are too many, so that nobody's requests drive out another's answers. nil: none. mu is held.
func (a *answers) tooMany(now time.Time) *kept {
	at := a.order.Front()
	if at == nil {
		return nil
	}
	if k, _ := at.Value.(*kept); now.Sub(k.At) >= keepAnswers {
		return k
	}
	if a.order.Len() <= a.most && a.bytes <= maxAnswerBytes {
		return nil
	}
	var most *owned
	for _, own := range a.owned {
		if most == nil || own.bytes > most.bytes {
			most = own
		}
	}
	k, _ := most.order.Front().Value.(*kept)
	return k
}
