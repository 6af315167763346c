package server

import (
	"net/http"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
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

func stale(err error) error { return withHTTP(http.StatusPreconditionFailed, err) }
