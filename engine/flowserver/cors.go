package flowserver

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// CORS says which pages of other origins may call, and read what is answered.
type CORS struct {
	// Origins are those origins, such as "https://app.example.com"; "*" is every
	// one, for flows that anybody may call.
	Origins []string
	// Headers are names that such a page may send besides Content-Type,
	// Authorization and X-Genkit-Stream-Id.
	Headers []string
	// Credentials lets the page's cookies be sent. It does not go with "*".
	Credentials bool
	// MaxAge is how long a browser may remember the answer: 10 minutes.
	MaxAge time.Duration
}

// origins decides for browsers.
type origins struct {
	protection *http.CrossOriginProtection
	any        bool
	allowed    []string
	headers    string
	age        string
	credential bool
}

const (
	streamIDHeader = "X-Genkit-Stream-Id"
	traceIDHeader  = "X-Genkit-Trace-Id"
	spanIDHeader   = "X-Genkit-Span-Id"
)

// exposed are the headers of answers that a page may read.
var exposed = strings.Join([]string{streamIDHeader, traceIDHeader, spanIDHeader, requestIDHeader, "Retry-After"}, ", ")

func newOrigins(c *CORS) (*origins, error) {
	o := &origins{protection: http.NewCrossOriginProtection()}
	if c == nil {
		return o, nil
	}
	for _, origin := range c.Origins {
		if origin == "*" {
			o.any = true
			continue
		}
		if err := o.protection.AddTrustedOrigin(origin); err != nil {
			return nil, status.Errorf(status.InvalidArgument, "flowserver: CORS: %w", err)
		}
		o.allowed = append(o.allowed, origin)
	}
	if o.any && c.Credentials {
		return nil, status.Errorf(status.InvalidArgument, "flowserver: CORS: credentials go to origins that are named, not to \"*\"")
	}
	o.credential = c.Credentials
	o.headers = strings.Join(append([]string{"Content-Type", "Authorization", streamIDHeader}, c.Headers...), ", ")
	age := c.MaxAge
	if age <= 0 {
		age = 10 * time.Minute
	}
	o.age = strconv.Itoa(int(age.Seconds()))
	return o, nil
}

// answer sets the headers that let a page read what follows, and answers a preflight
// itself; true when it has.
func (o *origins) answer(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || (!o.any && len(o.allowed) == 0) {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	if !o.any && !slices.Contains(o.allowed, origin) {
		return false
	}
	allow := origin
	if o.any {
		allow = "*"
	}
	h.Set("Access-Control-Allow-Origin", allow)
	if o.credential {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		h.Set("Access-Control-Expose-Headers", exposed)
		return false
	}
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	h.Set("Access-Control-Allow-Methods", http.MethodPost)
	h.Set("Access-Control-Allow-Headers", o.headers)
	h.Set("Access-Control-Max-Age", o.age)
	w.WriteHeader(http.StatusNoContent)
	return true
}

// check refuses requests that a page of an origin that is not let in has sent, also
// those that a browser sends without asking first.
func (o *origins) check(r *http.Request) error {
	if o.any {
		return nil
	}
	if err := o.protection.Check(r); err != nil {
		return status.Publicf(status.PermissionDenied, "a page of another site may not send this request").
			WithCause(fmt.Errorf("cross-origin check: %w", err))
	}
	return nil
}
