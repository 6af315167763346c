package server

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
)

// etagOf writes a revision as an entity tag.
func etagOf(revision string) string { return `"` + revision + `"` }

// matches reports whether a header of If-Match or If-None-Match names an entity tag, or is
// "*". A weak tag, W/"…", counts where weak is set.
func matches(header []string, etag string, weak bool) bool {
	for tag := range strings.SplitSeq(strings.Join(header, ","), ",") {
		tag = strings.TrimSpace(tag)
		if weak {
			tag = strings.TrimPrefix(tag, "W/")
		}
		if tag == "*" || tag == etag {
			return true
		}
	}
	return false
}

// expected returns the revision that a request has to find, by its If-Match: empty for any.
// current is the one that there is. 412 when If-Match names others, and 428 when a header is
// wanted and there is none.
func expected(h http.Header, current string, wanted bool) (string, error) {
	if err := holds(http.Header{"If-None-Match": h.Values("If-None-Match")}, etagOf(current)); err != nil {
		return "", err
	}
	given := h.Values("If-Match")
	switch {
	case len(given) == 0 && wanted:
		return "", withHTTP(http.StatusPreconditionRequired, status.Publicf(status.FailedPrecondition,
			"If-Match is wanted: the ETag of what the change was made for, or * for whatever there is"))
	case len(given) == 0:
		return "", nil
	case strings.TrimSpace(strings.Join(given, ",")) == "*":
		return "", nil
	case !matches(given, etagOf(current), false):
		return "", stale(status.Publicf(status.FailedPrecondition, "If-Match: the ETag is %s now", etagOf(current)))
	}
	return current, nil
}

// preconditions are the headers that say what a change is for (RFC 9110, 13.1).
var preconditions = []string{"If-Match", "If-None-Match"}

// holds reports 412 where a change is for another state than that of etag; etag is empty where nothing is there.
func holds(h http.Header, etag string) error {
	given := func(name string) ([]string, bool) {
		all := h.Values(name)
		return all, len(all) > 0
	}
	if tags, ok := given("If-Match"); ok {
		switch {
		case etag == "":
			return stale(status.Publicf(status.FailedPrecondition, "If-Match: there is nothing of this name"))
		case !matches(tags, etag, false):
			return stale(status.Publicf(status.FailedPrecondition, "If-Match: the ETag is %s now", etag))
		}
	}
	if tags, ok := given("If-None-Match"); ok && etag != "" && matches(tags, etag, true) {
		return stale(status.Publicf(status.FailedPrecondition, "If-None-Match: it is there, with the ETag %s", etag))
	}
	return nil
}

// unchanged answers 304 where If-None-Match names what there is, and else sets its ETag.
func unchanged(c echo.Context, etag string) bool {
	c.Response().Header().Set("ETag", etag)
	given := c.Request().Header.Values("If-None-Match")
	return len(given) > 0 && matches(given, etag, true)
}

// tagOf is the entity tag of what v is as JSON.
func tagOf(v any) (string, error) {
	raw, err := marshal(v)
	sum := sha256.Sum256(raw)
	return etagOf(hex.EncodeToString(sum[:12])), err
}

// moduleTag is the entity tag of a module: that of its record, without what is not stored. nil has none.
func moduleTag(rec *module.Record) (string, error) {
	if rec == nil {
		return "", nil
	}
	stored := *rec
	stored.Current, stored.Problem = false, ""
	return tagOf(stored)
}

// conditional returns a route's handler that refuses, with 412, a change of what has no entity tag where a request
// says for which one it is: it must not be made, since the tag is not that of what is there (RFC 9110, 13.1.1).
func conditional(r route) route {
	if !audited(r) || slices.ContainsFunc(r.doc.params, func(name string) bool { return strings.HasPrefix(name, "ifMatch") }) {
		return r
	}
	handle := r.handle
	r.doc.failures = append([]int{http.StatusPreconditionFailed}, r.doc.failures...)
	r.handle = func(c echo.Context) error {
		for _, name := range preconditions {
			if len(c.Request().Header.Values(name)) > 0 {
				return stale(status.Publicf(status.FailedPrecondition, "%s: what this request is sent to has no ETag", name))
			}
		}
		return handle(c)
	}
	return r
}

func stale(err error) error { return withHTTP(http.StatusPreconditionFailed, err) }
