package server

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// list is a member of an answer that is an array, perhaps of many megabytes: each record
// has its descriptor, each action its schemas.
type list struct {
	member string
	len    int
	at     func(int) any
	// always is set when an empty list is written too.
	always bool
}

func listOf[T any](member string, items []T, always bool) list {
	return list{member, len(items), func(i int) any { return items[i] }, always}
}

// listing runs answer while the tenant may list: what is listed is held for as long as the
// reader takes to read it.
func (s *Server) listing(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		done, err := s.config.Host.BeginList(c.Request().Context(), param(c, "tenant"))
		if err != nil {
			return err
		}
		defer done()
		return next(c)
	}
}

// writeLists answers an object of lists and, where there is a next page, its cursor. One item is encoded at a time, and written before
// the next is, so that a reader who does not read, or has left, costs no more than that;
// each write has a deadline. A list that can't be ended ends the connection, so that its
// reader sees that it is not whole.
func writeLists(c echo.Context, next string, lists ...list) error {
	w := c.Response()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	before := "{"
	for _, l := range lists {
		if l.len == 0 && !l.always {
			continue
		}
		before += `"` + l.member + `":[`
		for i := range l.len {
			if err := writeItem(c, before, l.at(i)); err != nil {
				c.Set(logErrorKey, err)
				panic(http.ErrAbortHandler)
			}
			before = ","
		}
		if l.len > 0 {
			before = ""
		}
		before += "],"
	}
	if next != "" { // of letters that need no quoting
		before += `"cursor":"` + next + `",`
	}
	_, err := w.Write([]byte(strings.TrimSuffix(before, ",") + "}\n"))
	return err
}

func writeItem(c echo.Context, before string, item any) error {
	if err := c.Request().Context().Err(); err != nil {
		return status.Convert(err)
	}
	raw, err := marshal(item)
	if err != nil {
		return err
	}
	if _, err := c.Response().Write(append([]byte(before), raw...)); err != nil {
		return status.Errorf(status.Cancelled, "write a list: %w", err)
	}
	return nil
}
