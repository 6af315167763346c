package server

import (
	"bytes"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
)

// auditTable has the route of a server that keeps an audit log.
func (s *Server) auditTable() []route {
	if s.config.Audit == nil {
		return nil
	}
	return []route{{http.MethodGet, "/v1/audit", access.Admin, s.listAudit, docListAudit}}
}

var docListAudit = operation{
	id: "listAudit", tag: "server", summary: "List the audit log",
	text: "Who did what to which object, from where and with which result, newest first. A change has two entries: \"begun\" before it is made, and its result. " +
		"A page that has looked at many entries ends early, perhaps without any, and has a cursor.",
	list: "audit", params: []string{"since", "who", "what", "limit", "cursor"},
	responses: map[int]answerDoc{http.StatusOK: {text: "Some entries; \"cursor\" is there when there are more.", content: jsonOf("AuditList")}},
	failures:  []int{400, 403, 503},
}

// auditing has a change in the audit log: that it begins before it is made, and its result
// before it is answered. It is refused with UNAVAILABLE while the log can't be written.
func (s *Server) auditing(r route) echo.HandlerFunc {
	if s.config.Audit == nil || !audited(r) {
		return r.handle
	}
	return func(c echo.Context) (err error) {
		entry := s.entry(c, r.doc.id)
		entry.Result = audit.Begun
		s.owed.pay(s.config.Audit)
		begun, err := s.config.Audit.Append(entry)
		if err != nil && r.doc.ends {
			return s.endUnlogged(c, r, entry, err)
		}
		if err != nil {
			return err
		}
		entry.Of = begun.Seq
		w, header := hold(c)
		defer func() {
			if r := recover(); r != nil {
				w.release(c)
				entry.Result = "500 " + status.Internal.String()
				_, _ = s.config.Audit.Append(entry) // that it begun is written
				panic(r)
			}
		}()
		err = r.handle(c)
		w.release(c)
		entry.Result = strconv.Itoa(c.Response().Status)
		if err != nil {
			entry.Result = strconv.Itoa(httpStatusOf(err)) + " " + status.Of(err).String()
		} else if made := w.Header().Get("Location"); made != "" {
			entry.On = made
		}
		if _, failed := s.config.Audit.Append(entry); failed != nil {
			s.log.ErrorContext(c.Request().Context(), "the result of a change is not in the audit log", slog.Uint64("of", begun.Seq),
				slog.String("result", entry.Result), slog.Any("error", failed))
			if err == nil {
				restore(c, header)
				err = status.Publicf(status.Unavailable, "the change was made, and its result can't be written to the audit log: look at what there is before you try again").WithCause(failed)
			}
			return err
		}
		if err != nil {
			return err
		}
		return w.send()
	}
}

// endUnlogged carries out what ends a caller or a tenant without its entry in the log, which is added as soon as that can be
// written. The answer is 503 all the same, and says so.
func (s *Server) endUnlogged(c echo.Context, r route, entry audit.Entry, failed error) error {
	w, header := hold(c)
	err := r.handle(c)
	w.release(c)
	entry.Result = strconv.Itoa(c.Response().Status)
	if err != nil {
		entry.Result = strconv.Itoa(httpStatusOf(err)) + " " + status.Of(err).String()
	}
	entry.Result += lateEntry
	s.owed.add(entry)
	s.log.ErrorContext(c.Request().Context(), "a change is not in the audit log yet", slog.String("what", entry.What), slog.String("on", entry.On),
		slog.String("who", entry.Who), slog.String("result", entry.Result), slog.Any("error", failed))
	if err != nil {
		return err
	}
	restore(c, header)
	return status.Publicf(status.Unavailable, "it is done; the audit log can't be written, and gets its entry as soon as it can").WithCause(failed)
}

// lateEntry ends the result of an entry that was written some time after its change.
const lateEntry = " (late)"

// entry says who asks for what.
func (s *Server) entry(c echo.Context, what string) audit.Entry {
	e := audit.Entry{What: what, On: c.Request().URL.EscapedPath(), Request: requestID(c)}
	if from := s.from(c.Request()); from.IsValid() {
		e.From = from.String()
	}
	if identity := identityOf(c); identity != nil {
		e.Who = identity.Subject
	}
	return e
}

// countRefused counts what was refused before it began: a request of nobody known, and one of
// a caller whose scopes do not allow a change.
func (s *Server) countRefused(c echo.Context, err error) {
	if s.config.Audit == nil {
		return
	}
	what := s.changes[ruleKey{c.Request().Method, c.Path()}]
	code := status.Of(err)
	switch {
	case identityOf(c) == nil && (code == status.Unauthenticated || code == status.ResourceExhausted):
		if c.Get(attemptedKey) == nil {
			return // without a key or a token nobody tries to be somebody
		}
		what = "signIn"
	case identityOf(c) == nil || what == "":
		return
	}
	e := s.entry(c, what)
	e.Result = strconv.Itoa(httpStatusOf(err)) + " " + code.String()
	s.config.Audit.Count(e)
}

// held is an answer that is not sent yet. Answers to changes are short.
type held struct {
	http.ResponseWriter
	code int
	body bytes.Buffer
}

// hold has the answer of a handler held; the header is that before it.
func hold(c echo.Context) (*held, http.Header) {
	w := &held{ResponseWriter: c.Response().Writer}
	c.Response().Writer = w
	return w, maps.Clone(w.Header())
}

func (h *held) WriteHeader(code int) {
	if code < http.StatusOK {
		h.ResponseWriter.WriteHeader(code)
		return
	}
	h.code = code
}

func (h *held) Write(p []byte) (int, error) { return h.body.Write(p) }

func (h *held) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// release lets what is written from now on through.
func (h *held) release(c echo.Context) { c.Response().Writer = h.ResponseWriter }

func (h *held) send() error {
	if h.code == 0 {
		return nil
	}
	h.ResponseWriter.WriteHeader(h.code)
	_, err := h.ResponseWriter.Write(h.body.Bytes())
	if err != nil {
		return status.Errorf(status.Cancelled, "write an answer: %w", err)
	}
	return nil
}

// restore forgets an answer that was held.
func restore(c echo.Context, header http.Header) {
	r := c.Response()
	clear(r.Header())
	maps.Copy(r.Header(), header)
	r.Committed, r.Status, r.Size = false, http.StatusOK, 0
}

// maxFilter bounds the texts that entries are compared with.
const maxFilter = 512

// listAudit answers {"entries": [Entry, …], "cursor"?}.
func (s *Server) listAudit(c echo.Context) error {
	p, err := readPage(c, "audit", defaultPage)
	if err != nil {
		return err
	}
	query := c.QueryParams()
	q := audit.Query{Limit: p.limit, Who: query.Get("who"), What: query.Get("what")}
	for _, name := range []string{"who", "what"} {
		if query.Has(name) && (query.Get(name) == "" || utf8.RuneCountInString(query.Get(name)) > maxFilter) {
			return status.Publicf(status.InvalidArgument, "query: %q wants 1 to %d characters", name, maxFilter)
		}
	}
	if query.Has("since") {
		var ok bool
		if q.Since, ok = timeOf(query.Get("since")); !ok {
			return status.Publicf(status.InvalidArgument, "query: \"since\" is %q, want a time such as 2030-01-31T12:00:00Z", abi.Line(query.Get("since"), 80))
		}
	}
	if p.after != "" {
		if q.Before, err = strconv.ParseUint(p.after, 10, 63); err != nil || q.Before == 0 {
			return writeLists(c, "", listOf("entries", []audit.Entry{}, true)) // before all
		}
	}
	entries, next, err := s.config.Audit.List(q)
	if err != nil {
		return err
	}
	return writeLists(c, p.next(strconv.FormatUint(next, 10), next > 0), listOf("entries", entries, true))
}
