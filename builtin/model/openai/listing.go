package openai

import (
	"context"
	"slices"
	"strings"
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

// listing is a server's list of models.
type listing struct {
	turn  chan struct{} // holds one token: who has it may use what follows
	now   func() time.Time
	until time.Time
	descs []action.Desc
}

func newListing() listing {
	l := listing{turn: make(chan struct{}, 1), now: time.Now}
	l.turn <- struct{}{}
	return l
}

// List describes the listed models and embedders and, when the server is not OpenAI's,
// those that it says it has: GET {BaseURL}/models, at most every five minutes and for at
// most three seconds. A server that can't be asked takes nothing from the list: what it
// said before stays. [Provider.Models] tells why.
func (p *Provider) List(ctx context.Context) ([]action.Desc, error) {
	descs := slices.Clone(p.descs)
	if p.cfg.BaseURL == DefaultBaseURL || p.cfg.NoModelListing {
		return descs, nil
	}
	select {
	case <-p.remote.turn:
	case <-ctx.Done():
		return descs, status.Convert(ctx.Err())
	}
	defer func() { p.remote.turn <- struct{}{} }()
	if now := p.remote.now(); !now.Before(p.remote.until) {
		p.refresh(ctx, now)
	}
	return distinct(append(descs, p.remote.descs...)), nil
}

func (p *Provider) refresh(ctx context.Context, now time.Time) {
	bounded, cancel := context.WithTimeout(ctx, listingTime)
	defer cancel()
	models, err := p.Models(bounded)
	switch {
	case ctx.Err() != nil: // it was not the server's fault
		return
	case err != nil:
		p.remote.until = now.Add(listingFailed)
		return
	}
	p.remote.until, p.remote.descs = now.Add(listingFresh), nil
	for _, m := range models[:min(len(models), maxRemote)] {
		if m.ID == "" || len(m.ID) > maxRemoteID || oneLine(m.ID) != m.ID || strings.ContainsAny(m.ID, "*") {
			continue
		}
		kind := kindOf(m.ID)
		if a, err := p.make(m.ID, kind, p.unlistedInfo(kind)); err == nil {
			p.remote.descs = append(p.remote.descs, a.Desc())
		}
	}
}
