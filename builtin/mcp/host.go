package mcp

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Host holds connections to servers and offers what they have as actions, named <server>/<name>: tools that may return parts
// (kind tool.v2), prompts and resources. A server is connected when it is first needed. It is safe for concurrent use.
type Host struct {
	config  HostConfig
	clients map[string]*client
}

var (
	_ registry.Provider  = (*Host)(nil)
	_ registry.Qualified = (*Host)(nil)
	_ registry.Matcher   = (*Host)(nil)
)

// NewHost makes a host; nothing is started or connected yet. INVALID_ARGUMENT when a name or a server's configuration is not usable.
func NewHost(c HostConfig) (*Host, error) {
	if err := c.normalize(); err != nil {
		return nil, err
	}
	h := &Host{config: c, clients: map[string]*client{}}
	for name, server := range c.Servers {
		if err := server.Check(name); err != nil {
			return nil, err
		}
		if !server.Disabled {
			h.clients[name] = newClient(name, server, &h.config)
		}
	}
	h.config.Servers = nil
	return h, nil
}

// Name returns the provider's name.
func (h *Host) Name() string { return h.config.Name }

// Qualified says that the actions are named through the host.
func (h *Host) Qualified() bool { return true }

// listWait bounds how long a listing of all waits for a server; one that takes longer is missing from it, and goes on.
const listWait = 4 * time.Second

// List describes what the servers have, by server and name. A server that fails or takes longer than 4 seconds takes nothing away
// but its own: the error, which is beside the list, names it.
func (h *Host) List(ctx context.Context) ([]action.Desc, error) {
	return h.list(ctx, slices.Sorted(maps.Keys(h.clients)), listWait)
}

// Match describes the actions whose names begin with a prefix. Of a server that the prefix names, a failure is the error;
// otherwise a server that fails is left out and logged, unless all do.
func (h *Host) Match(ctx context.Context, prefix string) ([]action.Desc, error) {
	if server, _, whole := strings.Cut(prefix, "/"); whole {
		c := h.clients[server]
		if c == nil {
			return nil, nil
		}
		o, err := c.get(ctx)
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(slices.Clone(o.descs), func(d action.Desc) bool { return !strings.HasPrefix(d.Name, prefix) }), nil
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(h.clients)) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	descs, err := h.list(ctx, names, h.config.ConnectTimeout)
	if err != nil && len(descs) > 0 {
		h.config.Logger.WarnContext(ctx, "tools of an MCP server are missing from a call", slog.Any("error", err))
		return descs, nil
	}
	return descs, err
}

// list asks servers at the same time.
func (h *Host) list(ctx context.Context, names []string, wait time.Duration) ([]action.Desc, error) {
	offers, errs := make([]*offer, len(names)), make([]error, len(names))
	var asked sync.WaitGroup
	for i, name := range names {
		asked.Go(func() {
			c := h.clients[name]
			waiting, cancel := context.WithTimeout(ctx, wait)
			defer cancel()
			offers[i], errs[i] = c.get(waiting)
			if errs[i] != nil && ctx.Err() == nil && waiting.Err() != nil {
				errs[i] = c.failure(status.Unavailable, "it has not answered within %s", wait)
			}
		})
	}
	asked.Wait()
	var descs []action.Desc
	for _, o := range offers {
		if o != nil {
			descs = append(descs, o.descs...)
		}
	}
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 1 {
		return descs, errs[0]
	}
	return descs, errors.Join(errs...)
}

// Resolve returns an action; NOT_FOUND when no server has it, and the server's own failure when that can't be asked.
func (h *Host) Resolve(ctx context.Context, key action.Key) (action.Action, error) {
	server, _, _ := strings.Cut(key.Name, "/")
	c := h.clients[server]
	if c == nil {
		return nil, status.Publicf(status.NotFound, "MCP host %q has no server %q", h.config.Name, server)
	}
	o, err := c.get(ctx)
	if err != nil {
		return nil, err
	}
	if a := o.actions[key]; a != nil {
		return a, nil
	}
	return nil, status.Publicf(status.NotFound, "MCP server %q has no %s %q", server, key.Kind, key.Name)
}

// Close ends all connections and processes, and the calls that use them, and waits for them. What is asked of the host
// afterwards fails with UNAVAILABLE.
func (h *Host) Close() error {
	var closed sync.WaitGroup
	for _, c := range h.clients {
		closed.Go(c.close)
	}
	closed.Wait()
	return nil
}
