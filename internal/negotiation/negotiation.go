// Package negotiation reads what a request says of the form of its body and of the answer, in
// one place for the faces that answer with a value or with a stream of events:
//
//	stream, err := negotiation.Stream(r)
//	every, err := negotiation.Heartbeat(r)
//	err := negotiation.Plain(r.Header)
//
// Errors are INVALID_ARGUMENT and public. Everything is safe for concurrent use.
package negotiation

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// EventStream is the media type of a stream of events.
const EventStream = "text/event-stream"

// Quiet is how long a stream may have nothing to say before its headers are sent without a frame:
// proxies and clients give up on an answer that does not begin.
const Quiet = time.Second

// HeartbeatLine is what a stream sends that has nothing to say: a comment.
const HeartbeatLine = ": heartbeat\n\n"

// Stream reads Genkit's two ways of asking for a stream: an Accept header that contains
// text/event-stream, or the query stream=true.
func Stream(r *http.Request) (bool, error) {
	if r.URL.RawQuery != "" {
		if q := r.URL.Query(); q.Has("stream") {
			on, err := strconv.ParseBool(q.Get("stream"))
			if err != nil {
				return false, status.Publicf(status.InvalidArgument, "query: \"stream\" wants true or false")
			}
			if on {
				return true, nil
			}
		}
	}
	for _, header := range r.Header["Accept"] {
		if header == EventStream {
			return true, nil
		}
		for accepted := range strings.SplitSeq(header, ",") {
			if acceptsStream(accepted) {
				return true, nil
			}
		}
	}
	return false, nil
}

// acceptsStream reports whether one range of an Accept header asks for a stream: it
// names text/event-stream, and not with a quality of 0, which refuses it.
func acceptsStream(accepted string) bool {
	kind, parameters, _ := strings.Cut(accepted, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), EventStream) {
		return false
	}
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(parameter, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			quality, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return err != nil || quality > 0
		}
	}
	return true
}

// Heartbeat reads the query's heartbeat=SECONDS (1 to 60): how often a stream that has
// nothing to say sends a comment line, which keeps proxies from closing it. Without it there is none (0),
// because Genkit's client takes every line for a frame.
func Heartbeat(r *http.Request) (time.Duration, error) {
	if r.URL.RawQuery == "" {
		return 0, nil
	}
	q := r.URL.Query()
	if !q.Has("heartbeat") {
		return 0, nil
	}
	seconds, err := strconv.Atoi(q.Get("heartbeat"))
	if err != nil || seconds < 1 || seconds > 60 {
		return 0, status.Publicf(status.InvalidArgument, "query: \"heartbeat\" wants a number of seconds from 1 to 60")
	}
	return time.Duration(seconds) * time.Second, nil
}

// maxShown is how much of a header an error repeats, in bytes.
const maxShown = 80

// Plain refuses a body that says that it is encoded (RFC 9110, 8.4); the answer to it is 415.
func Plain(header http.Header) error {
	if _, ok := header["Content-Encoding"]; !ok {
		return nil
	}
	// Of a header that comes twice, a proxy may have gone by the other one.
	coding := strings.Join(header.Values("Content-Encoding"), ", ")
	if coding == "" || strings.EqualFold(coding, "identity") {
		return nil
	}
	return status.Publicf(status.InvalidArgument, "the body's Content-Encoding is %q; send it as it is, without a Content-Encoding", coding[:min(len(coding), maxShown)])
}
