package generate

import (
	"context"
	"errors"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Bounds of one turn: how often what a resource returns may hold resource parts
// itself, and how many parts are fetched.
const (
	maxResourceDepth = 8
	maxResourceReads = 256
)

// WithResources brings resources that need not be registered, before those that
// the options name. A registered action of the same key is shadowed.
func WithResources(resources ...action.Action) Option {
	return func(s *settings) { s.resources = append(s.resources, resources...) }
}

// resourceSet finds the resource of a URI: those of the call first, in order, then
// every one that can be resolved, in the order of their keys (Genkit:
// js/ai/src/generate/action.ts, applyResources). Those of a dynamic action provider are
// found when the call names them, as in Genkit JS: asking it may be slow.
type resourceSet struct {
	l      *loop
	named  []action.Action
	listed []action.Desc // all resources of the registry, once they were needed
	known  bool
	failed error // of the listing, which listed holds all the same
	reads  int
}

// applyResources replaces the resource parts of the messages by the content of their resources.
// Nothing is looked up when there is none.
func (l *loop) applyResources(ctx context.Context, opts *model.GenerateOptions) error {
	set := &resourceSet{l: l}
	for _, ref := range opts.Resources {
		if err := ctx.Err(); err != nil {
			return cancelled(err, err)
		}
		found, err := resolveAll(ctx, l.reg, ref, action.Resource)
		if err != nil {
			return err
		}
		for _, f := range found {
			set.named = append(set.named, f.Action)
		}
	}
	var messages []content.Message
	for i, m := range opts.Messages {
		if !hasResource(m.Content) {
			continue
		}
		parts, err := set.replace(ctx, m.Content, 0)
		if err != nil {
			return err
		}
		if messages == nil {
			messages = append([]content.Message{}, opts.Messages...)
		}
		messages[i].Content = parts
	}
	if messages != nil {
		opts.Messages = messages
	}
	return nil
}

func hasResource(parts []content.Part) bool {
	for i := range parts {
		if parts[i].Resource != nil {
			return true
		}
	}
	return false
}

func (s *resourceSet) replace(ctx context.Context, parts []content.Part, depth int) ([]content.Part, error) {
	if depth >= maxResourceDepth {
		return nil, status.Publicf(status.FailedPrecondition, "resources hold resources more than %d deep", maxResourceDepth)
	}
	replaced := make([]content.Part, 0, len(parts))
	for _, part := range parts {
		if part.Resource == nil {
			replaced = append(replaced, part)
			continue
		}
		if s.reads++; s.reads > maxResourceReads {
			return nil, status.Publicf(status.FailedPrecondition, "the messages hold more than %d resources", maxResourceReads)
		}
		uri := part.Resource.URI
		a, err := s.find(ctx, uri)
		if err != nil {
			return nil, err
		}
		fetched, err := resource.Read(ctx, a, uri)
		if err != nil {
			return nil, err
		}
		if hasResource(fetched) {
			if fetched, err = s.replace(ctx, fetched, depth+1); err != nil {
				return nil, err
			}
		}
		replaced = append(replaced, fetched...)
	}
	return replaced, nil
}

func (s *resourceSet) find(ctx context.Context, uri string) (action.Action, error) {
	for _, a := range s.named {
		if resource.Matches(a.Desc(), uri) {
			return a, nil
		}
	}
	if !s.known {
		s.listed, s.failed = s.l.reg.List(ctx)
		s.known = true
	}
	for _, d := range s.listed {
		if !resource.Matches(d, uri) {
			continue
		}
		a, err := s.l.reg.Lookup(ctx, d.Key())
		if !errors.Is(err, status.ErrNotFound) { // gone since it was listed
			return a, err
		}
	}
	if s.failed != nil { // who can't be asked may have it
		return nil, s.failed
	}
	return nil, status.Publicf(status.NotFound, "failed to find matching resource for %s", uri)
}
