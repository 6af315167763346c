package usage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// HTTPConfig configures [NewHTTP].
type HTTPConfig struct {
	// URL is where the events are posted, by http or https.
	URL string `json:"url"`
	// Header are headers of each request, such as Authorization.
	Header map[string]string `json:"header,omitempty"`
	// OTLP posts log records of OpenTelemetry in the place of CloudEvents, by OTLP over HTTP in JSON. The
	// URL is a collector's; where it has no path, "/v1/logs" is added.
	OTLP bool `json:"otlp,omitempty"`
	// Client sends the requests; nil takes one of its own, which follows no redirects.
	Client *http.Client `json:"-"`
}

// HTTP is a sink that posts batches of events, application/cloudevents-batch+json: an array of
// CloudEvents, as the HTTP binding of CloudEvents 1.0 has it; or log records of OTLP. An answer of 2xx
// takes them; one of 400, 413 or 422 refuses them, and all others are tried again, with Retry-After where
// it is given.
type HTTP struct {
	config HTTPConfig
	client *http.Client
}

var _ Sink = (*HTTP)(nil)

// batchType is the media type of an array of CloudEvents.
const batchType = "application/cloudevents-batch+json"

var headerName = regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`)

// NewHTTP makes the sink; INVALID_ARGUMENT for what is no URL or no header.
func NewHTTP(config HTTPConfig) (*HTTP, error) {
	u, err := url.Parse(config.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, status.Publicf(status.InvalidArgument, "want a \"url\" that begins with http:// or https://, without a user")
	}
	for name, value := range config.Header {
		if !headerName.MatchString(name) || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return nil, status.Publicf(status.InvalidArgument, "a \"header\" can't be sent: want names of letters, digits and \"-\", and values of one line")
		}
	}
	if config.OTLP && strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/logs"
		config.URL = u.String()
	}
	s := &HTTP{config: config, client: config.Client}
	if s.client == nil {
		transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true}
		s.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return s, nil
}

// Send implements [Sink].
func (s *HTTP) Send(ctx context.Context, events []json.RawMessage) error {
	body, kind := batchOf(events), batchType
	if s.config.OTLP {
		var err error
		if body, err = logsOf(events); err != nil {
			return err
		}
		kind = "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.config.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("post usage events: %w", err)
	}
	for name, value := range s.config.Header {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", kind)
	resp, err := s.client.Do(req)
	if err != nil {
		if cause, ok := errors.AsType[*url.Error](err); ok {
			err = cause.Err // without the URL, which may have a secret in it
		}
		return fmt.Errorf("post usage events: %w", err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300 && s.config.OTLP:
		return partly(answer)
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return nil
	case resp.StatusCode == http.StatusBadRequest, resp.StatusCode == http.StatusRequestEntityTooLarge, resp.StatusCode == http.StatusUnprocessableEntity:
		return &RefusedError{Err: fmt.Errorf("it answered %d", resp.StatusCode)}
	}
	failed := status.Errorf(status.Unavailable, "post usage events: the receiver answered %d", resp.StatusCode)
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		failed = failed.WithRetryAfter(time.Duration(min(seconds, 3600)) * time.Second)
	}
	return failed
}

// batchOf is an array of events.
func batchOf(events []json.RawMessage) []byte {
	body := []byte{'['}
	for i, e := range events {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, e...)
	}
	return append(body, ']')
}

// Close ends the connection that is kept.
func (s *HTTP) Close() error {
	s.client.CloseIdleConnections()
	return nil
}
