package server

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

// queried returns the handler of a list or report that looks at its query first. A filter that is
// mistyped would be none, and the answer that of everybody: so a query that can't be read, a parameter that
// is not known and one that comes twice are INVALID_ARGUMENT. Operations without parameters in the query, and those of
// other clients' conventions, take whatever comes.
func (s *Server) queried(r route) echo.HandlerFunc {
	if r.method != http.MethodGet || r.scope == open || r.scope == access.Invoke {
		return r.handle
	}
	return func(c echo.Context) error {
		if known := s.queries[r.doc.id]; len(known) > 0 {
			if err := checkQuery(c.Request().URL.RawQuery, known); err != nil {
				return err
			}
		}
		return r.handle(c)
	}
}

func checkQuery(raw string, known []string) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return status.Publicf(status.InvalidArgument, "query: it can't be read; parameters are separated by \"&\", and \"%%\" begins two hexadecimal digits")
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch {
		case !slices.Contains(known, name):
			quoted := make([]string, len(known))
			for i, k := range known {
				quoted[i] = strconv.Quote(k)
			}
			return status.Publicf(status.InvalidArgument, "query: %q is not known here; want %s", abi.Line(name, 80), strings.Join(quoted, ", "))
		case len(query[name]) > 1:
			return status.Publicf(status.InvalidArgument, "query: %q comes twice", name)
		}
	}
	return nil
}

// queriesOf returns the names of the parameters in the query of each operation, from the document of the
// API.
func queriesOf(document []byte) (map[string][]string, error) {
	type parameter struct {
		Ref  string `json:"$ref"`
		Name string `json:"name"`
		In   string `json:"in"`
	}
	var d struct {
		Paths map[string]map[string]struct {
			ID         string      `json:"operationId"`
			Parameters []parameter `json:"parameters"`
		} `json:"paths"`
		Components struct {
			Parameters map[string]parameter `json:"parameters"`
		} `json:"components"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		return nil, status.Errorf(status.Internal, "read the document of the API: %w", err)
	}
	queries := map[string][]string{}
	for _, operations := range d.Paths {
		for _, o := range operations {
			for _, p := range o.Parameters {
				if name, is := strings.CutPrefix(p.Ref, "#/components/parameters/"); is {
					p = d.Components.Parameters[name]
				}
				if p.In == "query" {
					queries[o.ID] = append(queries[o.ID], p.Name)
				}
			}
		}
	}
	return queries, nil
}

// timeOf reads a time of RFC 3339, and returns it in UTC. A time that could not be written again is none: an offset of a
// day, or a year beyond 9999 that the offset makes of one before.
func timeOf(text string) (time.Time, bool) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, false
	}
	_, as := at.MarshalText()
	at = at.UTC()
	_, inUTC := at.MarshalText()
	return at, as == nil && inUTC == nil
}
