package listening

import (
	queue "container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

// leastConnections is how many connections a server has in any case.
const leastConnections = 16

// BoundConnections bounds the connections that a server has open. When there are too many, the one that has been without a
// whole request for longest is closed; when all have one, the new one. Both are counted in closed. It sets the server's Handler, ConnState and
// ConnContext, so it is called once, before the server serves, when Handler is the one to be served.
func BoundConnections(srv *http.Server, most int64, closed *Closed) {
	c := newConnections(most)
	c.closed = closed
	bound(srv, c)
}

func bound(srv *http.Server, c *connections) {
	srv.Handler, srv.ConnState, srv.ConnContext = c.handler(srv.Handler), c.state, c.context
}

// connections are those of a server. It is safe for concurrent use.
type connections struct {
	most   int
	closed *Closed

	mu      sync.Mutex // guards the fields below, and all of its entries
	open    map[net.Conn]*connection
	waiting *queue.List // of *connection: those without a whole request, longest first
}

// connection is one of them.
type connection struct {
	conn net.Conn
	at   *queue.Element // in waiting; nil while a request is answered
}

func newConnections(most int64) *connections {
	return &connections{most: int(max(leastConnections, min(most, 1<<30))), open: map[net.Conn]*connection{}, waiting: queue.New()}
}

// state is the server's ConnState.
func (c *connections) state(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if old := c.add(conn); old != nil {
			_ = old.Close() // its goroutine sees that, and reports it closed
		}
	case http.StateIdle:
		c.mu.Lock()
		if e := c.open[conn]; e != nil {
			c.wait(e)
		}
		c.mu.Unlock()
	case http.StateClosed, http.StateHijacked:
		c.mu.Lock()
		if e := c.open[conn]; e != nil {
			c.forget(e)
		}
		c.mu.Unlock()
	case http.StateActive: // its request may never be whole: see handler
	}
}

// add takes a new connection, and returns the one that has to go for it, if any.
func (c *connections) add(conn net.Conn) (old net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.most {
		first := c.waiting.Front()
		if first == nil {
			c.closed.add(full)
			return conn
		}
		c.closed.add(waiting)
		gone, _ := first.Value.(*connection)
		c.forget(gone)
		old = gone.conn
	}
	e := &connection{conn: conn}
	c.open[conn] = e
	c.wait(e)
	return old
}

// wait puts a connection behind those that wait for a request. mu is held.
func (c *connections) wait(e *connection) {
	c.serve(e)
	e.at = c.waiting.PushBack(e)
}

// serve takes a connection out of those that wait for a request. mu is held.
func (c *connections) serve(e *connection) {
	if e.at != nil {
		c.waiting.Remove(e.at)
		e.at = nil
	}
}

// forget drops a connection. mu is held.
func (c *connections) forget(e *connection) {
	c.serve(e)
	delete(c.open, e.conn)
}

type connectionKey struct{}

// context is the server's ConnContext.
func (c *connections) context(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, conn)
}

// handler is called when a request's headers are whole.
func (c *connections) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, ok := r.Context().Value(connectionKey{}).(net.Conn); ok {
			c.mu.Lock()
			if e := c.open[conn]; e != nil {
				c.serve(e)
			}
			c.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}
