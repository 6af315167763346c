package server

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const (
	defaultPage = 100
	mostPage    = 1000
	// maxCursor bounds a cursor, in bytes.
	maxCursor = 1400
)

// cursorPattern returns the pattern of a list's cursors: the list's name, a dot, and a
// position in base64url. The document has it too, so that what fits it is what is accepted.
func cursorPattern(list string) string {
	return `^` + list + `\.([A-Za-z0-9_-]{4})*[A-Za-z0-9_-]{2,4}$`
}

// pageLimit reads the query's limit; otherwise where it has none.
func pageLimit(query url.Values, otherwise int) (int, error) {
	if !query.Has("limit") {
		return otherwise, nil
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 || limit > mostPage {
		return 0, status.Publicf(status.InvalidArgument, "query: \"limit\" wants a number from 1 to %d", mostPage)
	}
	return limit, nil
}

// page is the part of a list that a request asks for.
type page struct {
	list  string // its name, which its cursors carry
	limit int    // 0: all
	after string // the position of the last item before the page; empty: from the start
}

// readPage reads the query's limit and cursor. A list without a limit is answered whole where
// otherwise is 0.
func readPage(c echo.Context, list string, otherwise int) (page, error) {
	query := c.QueryParams()
	p := page{list: list}
	var err error
	if p.limit, err = pageLimit(query, otherwise); err != nil || !query.Has("cursor") {
		return p, err
	}
	cursor := query.Get("cursor")
	position, ok := strings.CutPrefix(cursor, list+".")
	after, err := base64.RawURLEncoding.DecodeString(position)
	if err != nil || !ok || len(after) == 0 || len(cursor) > maxCursor || strings.ContainsAny(position, "\r\n") {
		return p, status.Publicf(status.InvalidArgument, "query: \"cursor\" is none that this list gave")
	}
	p.after = string(after)
	return p, nil
}

// next returns the cursor of the page after the item at a position; empty when there is none.
func (p page) next(last string, more bool) string {
	if !more {
		return ""
	}
	return p.list + "." + base64.RawURLEncoding.EncodeToString([]byte(last))
}

// cut returns the items of the page and the cursor of the next one. position returns an item's
// position; before reports whether a position comes before another in the list.
func cut[T any](p page, items []T, position func(T) string, before func(a, b string) bool) ([]T, string) {
	if p.after != "" {
		start := 0
		for start < len(items) && !before(p.after, position(items[start])) {
			start++
		}
		items = items[start:]
	}
	if p.limit == 0 || len(items) <= p.limit {
		return items, ""
	}
	items = items[:p.limit]
	return items, p.next(position(items[len(items)-1]), true)
}

func byText(a, b string) bool { return a < b }

// newestFirst is the order of revisions.
func newestFirst(a, b string) bool {
	x, _ := strconv.Atoi(a)
	y, _ := strconv.Atoi(b)
	return x > y
}
