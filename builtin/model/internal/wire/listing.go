package wire

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const (
	// listingTime bounds one GET /models, so that a server that hangs holds up nobody's
	// listing for longer.
	listingTime = 3 * time.Second
	// listingFresh is how long a server's list counts, listingFailed how long it is not
	// asked again after a failure.
	listingFresh  = 5 * time.Minute
	listingFailed = 30 * time.Second
	// maxRemote bounds how many models of a server are listed, and maxRemoteID the
	// length of an id.
	maxRemote   = 1000
	maxRemoteID = 256
)

// RemoteModel is a model that a server says it has.
type RemoteModel struct {
	ID      string `json:"id"`
	OwnedBy string `json:"owned_by,omitempty"`
}

// Entries are those of a server's list that can be read: one of another form, as some servers have
// among their models, hides no others.
type Entries[T any] []T

// UnmarshalJSON reads an array.
func (e *Entries[T]) UnmarshalJSON(raw []byte) error {
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	*e = make([]T, 0, min(len(all), maxRemote))
	for _, one := range all {
		var entry T
		if json.Unmarshal(one, &entry) == nil {
			*e = append(*e, entry)
		}
	}
	return nil
}

// Listing is a server's list of models. It is safe for concurrent use.
type Listing struct {
	// Ask returns what the server says; Describe returns the description of one of its
	// actions, false to leave it out.
	Ask      func(ctx context.Context) ([]RemoteModel, error)
	Describe func(m RemoteModel) (action.Desc, bool)
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	once  sync.Once
	turn  chan struct{} // holds one token: who has it may use what follows
	until time.Time
	descs []action.Desc
}

// List returns descs and those of the server, which is asked at most every five minutes
// and for at most three seconds. A server that can't be asked takes nothing from the list:
// what it said before stays.
func (l *Listing) List(ctx context.Context, descs []action.Desc) ([]action.Desc, error) {
	l.once.Do(func() {
		l.turn = make(chan struct{}, 1)
		l.turn <- struct{}{}
	})
	select {
	case <-l.turn:
	case <-ctx.Done():
		return descs, status.Convert(ctx.Err())
	}
	defer func() { l.turn <- struct{}{} }()
	now := time.Now
	if l.Now != nil {
		now = l.Now
	}
	if at := now(); !at.Before(l.until) {
		l.refresh(ctx, at)
	}
	return Distinct(append(descs, l.descs...)), nil
}

func (l *Listing) refresh(ctx context.Context, now time.Time) {
	bounded, cancel := context.WithTimeout(ctx, listingTime)
	defer cancel()
	models, err := l.Ask(bounded)
	switch {
	case ctx.Err() != nil: // it was not the server's fault
		return
	case err != nil:
		l.until = now.Add(listingFailed)
		return
	}
	l.until, l.descs = now.Add(listingFresh), nil
	for _, m := range models[:min(len(models), maxRemote)] {
		if m.ID == "" || len(m.ID) > maxRemoteID || OneLine(m.ID) != m.ID || strings.ContainsAny(m.ID, "*") {
			continue
		}
		if d, ok := l.Describe(m); ok {
			l.descs = append(l.descs, d)
		}
	}
}

// Distinct keeps the first of each key.
func Distinct(descs []action.Desc) []action.Desc {
	seen := map[action.Key]bool{}
	var kept []action.Desc
	for _, d := range descs {
		if !seen[d.Key()] {
			seen[d.Key()] = true
			kept = append(kept, d)
		}
	}
	return kept
}
