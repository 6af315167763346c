// Package downloadmedia fetches the media of a request for a model that can't.
//
// It owns the middleware "downloadRequestMedia" (Genkit JS: downloadRequestMedia): http
// and https media become data URLs. It is off unless an operator registers it or
// attaches it to a model, since it lets senders of requests make the process fetch
// URLs. Use:
//
//	f, err := downloadmedia.New(downloadmedia.Options{})
//	hook, err := middleware.FromFactory(f, nil)
//	m = middleware.Attach(m, hook)
//
// Only public addresses are dialled: the address is checked after the name was resolved, on the very connection that is
// used, for the URL and for every redirect. There is no proxy, cookie or credential, and no client header
// (GENKIT_CLIENT_HEADER): that is for providers, and these addresses come from the authors of the messages. Genkit JS
// cuts a body that is too long; here it is an error, since half a picture is none.
package downloadmedia

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Name is the middleware's name.
const Name = "downloadRequestMedia"

// Limits and defaults.
const (
	DefaultMaxBytes = 10 << 20         // of one part
	DefaultTimeout  = 30 * time.Second // for one part, redirects included
	MaxParts        = 16               // fetched for one request
	MaxTotal        = 4                // times MaxBytes, for one request
	MaxRedirects    = 3
	maxHeaderBytes  = 64 << 10
)

// Config is the config of a generate call.
type Config struct {
	MaxBytes int64 `json:"maxBytes,omitempty" jsonschema:"minimum=1" jsonschema_description:"The size that one medium may have, where that is less than the operator allows."`
}

// Options are the operator's; the zero value is useful.
type Options struct {
	MaxBytes int64         // 0 means [DefaultMaxBytes]
	Timeout  time.Duration // 0 means [DefaultTimeout]
	// Allow lets addresses through that are not public, such as those of a media
	// server of one's own; nil lets none.
	Allow func(netip.Addr) bool
	// Filter says which parts to fetch; nil means all.
	Filter func(content.Part) bool
}

// New makes the factory.
func New(o Options) (middleware.Factory, error) {
	if o.MaxBytes < 0 || o.Timeout < 0 {
		return nil, status.Publicf(status.InvalidArgument, "middleware %q: limits must not be negative", Name)
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	client := o.client()
	return middleware.Define(middleware.Desc{Name: Name, Description: "Fetches http and https media of the request, for models that can't."},
		func(_ context.Context, c Config) (*middleware.Hooks, error) {
			d := &downloader{Options: o, client: client, fetched: map[string]*content.Media{}}
			if c.MaxBytes > 0 {
				d.MaxBytes = min(d.MaxBytes, c.MaxBytes)
			}
			return &middleware.Hooks{Model: d.call}, nil
		})
}

// Plugin registers the middleware.
func Plugin(o Options) registry.Plugin {
	return middleware.Plugin(Name, func() (middleware.Factory, error) { return New(o) })
}

var (
	errAddress  = errors.New("the address is not public")
	errRedirect = errors.New("the redirect is not followed")
)

// client dials checked addresses only and keeps no connection.
func (o Options) client() *http.Client {
	dialer := &net.Dialer{Timeout: o.Timeout, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return errAddress
		}
		if addr := at.Addr(); !public(addr) && (o.Allow == nil || !o.Allow(addr.Unmap())) {
			return errAddress
		}
		return nil
	}}
	return &http.Client{
		Timeout: o.Timeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeaderBytes,
			TLSHandshakeTimeout: o.Timeout, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > MaxRedirects || !fetchable(req.URL) || via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
				return errRedirect
			}
			req.Header.Del("Referer")
			return nil
		},
	}
}

func fetchable(u *url.URL) bool {
	return (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

// downloader is the middleware in one generate call; what was fetched for one turn
// serves the next.
type downloader struct {
	Options
	client  *http.Client
	fetched map[string]*content.Media
	total   int64
}

func (d *downloader) call(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
	req := *call.Request
	req.Messages = slices.Clone(req.Messages)
	for i := range req.Messages {
		parts, err := d.inline(ctx, req.Messages[i].Content)
		if err != nil {
			return nil, err
		}
		req.Messages[i].Content = parts
	}
	c := *call
	c.Request = &req
	return next(ctx, &c)
}

// inline returns parts with their media fetched; it copies them when it must.
func (d *downloader) inline(ctx context.Context, parts []content.Part) ([]content.Part, error) {
	var copied []content.Part
	for i, p := range parts {
		if p.Media == nil || !remote(p.Media.URL) || d.Filter != nil && !d.Filter(p) {
			continue
		}
		media, err := d.media(ctx, p.Media)
		if err != nil {
			return nil, err
		}
		if copied == nil {
			copied = slices.Clone(parts)
		}
		copied[i].Media = media
	}
	if copied == nil {
		return parts, nil
	}
	return copied, nil
}

func remote(raw string) bool {
	scheme, _, found := strings.Cut(raw, ":")
	return found && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

func (d *downloader) media(ctx context.Context, m *content.Media) (*content.Media, error) {
	got, known := d.fetched[m.URL]
	if !known {
		if len(d.fetched) >= MaxParts {
			return nil, status.Publicf(status.InvalidArgument, "more than %d media to download", MaxParts)
		}
		var err error
		if got, err = d.fetch(ctx, m.URL); err != nil {
			return nil, err
		}
		d.fetched[m.URL] = got
	}
	c := *m
	if c.ContentType == "" {
		c.ContentType = got.ContentType
	}
	c.URL = "data:" + c.ContentType + ";base64," + got.URL
	return &c, nil
}

// fetch returns the body, base64, and its content type.
func (d *downloader) fetch(ctx context.Context, raw string) (*content.Media, error) {
	u, err := url.Parse(raw)
	if err != nil || !fetchable(u) {
		return nil, status.Publicf(status.InvalidArgument, "media %q is not a URL that can be downloaded", shown(raw))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, raw, http.NoBody)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "media %q is not a URL that can be downloaded", shown(raw))
	}
	req.Header.Set("User-Agent", "genkit-wasm")
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, failure(ctx, raw, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, status.Publicf(status.FromHTTP(resp.StatusCode), "HTTP error downloading media '%s': %d", shown(raw), resp.StatusCode)
	}
	limit := min(d.MaxBytes, MaxTotal*d.MaxBytes-d.total)
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, failure(ctx, raw, err)
	}
	if int64(len(body)) > limit {
		return nil, status.Publicf(status.InvalidArgument, "media %q has more than the %d bytes that may be downloaded", shown(raw), limit)
	}
	d.total += int64(len(body))
	return &content.Media{URL: base64.StdEncoding.EncodeToString(body), ContentType: contentType(resp.Header, body)}, nil
}

func contentType(h http.Header, body []byte) string {
	if kind, _, err := mime.ParseMediaType(h.Get("Content-Type")); err == nil {
		return kind
	}
	kind, _, _ := strings.Cut(http.DetectContentType(body), ";")
	return kind
}

// failure describes a failed download without anything of the network behind it.
func failure(ctx context.Context, raw string, err error) error {
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		return status.Convert(ctx.Err())
	case errors.Is(err, errAddress):
		return status.Publicf(status.InvalidArgument, "media %q is at an address that is not public", shown(raw))
	case errors.Is(err, errRedirect):
		return status.Publicf(status.InvalidArgument, "media %q redirects too often, or to where it must not", shown(raw))
	case errors.As(err, &timeout) && timeout.Timeout():
		return status.Publicf(status.DeadlineExceeded, "media %q took too long to download", shown(raw)).WithCause(err)
	}
	return status.Publicf(status.Unavailable, "media %q can't be downloaded", shown(raw)).WithCause(err)
}

// shown is a URL without the parts that may be secret.
func shown(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(not a URL)"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
