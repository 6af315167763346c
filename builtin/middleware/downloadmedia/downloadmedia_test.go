package downloadmedia_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/downloadmedia"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// serve answers /<name> as the tests need it and counts.
func serve(t *testing.T) (base string, hits *atomic.Int32) {
	t.Helper()
	hits = &atomic.Int32{}
	done := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/pic", func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		assert.Empty(t, r.Header.Get("Referer"))
		assert.Empty(t, r.Header.Get("Cookie"))
		w.Header().Set("Content-Type", "image/png; q=1")
		_, _ = w.Write([]byte("png"))
	})
	mux.HandleFunc("/bare", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = w.Write([]byte("\x89PNG\r\n\x1a\n"))
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Repeat("x", 101))) })
	mux.HandleFunc("/fits", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Repeat("x", 100))) })
	mux.HandleFunc("/gone", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "internal text", http.StatusNotFound) })
	mux.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-done:
		}
	})
	mux.HandleFunc("/once", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/pic", http.StatusFound) })
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://u:p@"+r.Host+"/pic", http.StatusFound)
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(func() { close(done); s.Close() })
	return s.URL, hits
}

func loopback(a netip.Addr) bool { return a.IsLoopback() }

// call sends a request with media of those URLs through the hook, and returns what the
// model would get.
func call(t *testing.T, o downloadmedia.Options, config string, media ...content.Media) (*model.Request, error) {
	t.Helper()
	f, err := downloadmedia.New(o)
	require.NoError(t, err)
	hooks, err := f.New(t.Context(), json.RawMessage(config))
	require.NoError(t, err)
	req := &model.Request{Messages: []content.Message{content.NewUserTextMessage("look")}}
	for i := range media {
		req.Messages[0].Content = append(req.Messages[0].Content, content.Part{Media: &media[i]})
	}
	before, err := json.Marshal(req)
	require.NoError(t, err)
	var got *model.Request
	_, err = hooks.Model(t.Context(), &middleware.ModelCall{Request: req}, func(_ context.Context, call *middleware.ModelCall) (*model.Response, error) {
		got = call.Request
		return &model.Response{}, nil
	})
	after, marshalErr := json.Marshal(req)
	require.NoError(t, marshalErr)
	assert.JSONEq(t, string(before), string(after), "the request stays as it was")
	return got, err
}

func TestWhatIsFetched(t *testing.T) {
	base, _ := serve(t)
	options := downloadmedia.Options{Allow: loopback, MaxBytes: 100, Timeout: 200 * time.Millisecond}
	for name, c := range map[string]struct {
		media   content.Media
		options downloadmedia.Options
		config  string
		want    content.Media
		code    status.Code
		message string
	}{
		"a picture":                      {content.Media{URL: base + "/pic"}, options, ``, content.Media{URL: "data:image/png;base64,cG5n", ContentType: "image/png"}, status.OK, ""},
		"its type is kept":               {content.Media{URL: base + "/pic", ContentType: "image/webp"}, options, ``, content.Media{URL: "data:image/webp;base64,cG5n", ContentType: "image/webp"}, status.OK, ""},
		"a type that nobody told":        {content.Media{URL: base + "/bare"}, options, ``, content.Media{URL: "data:image/png;base64,iVBORw0KGgo=", ContentType: "image/png"}, status.OK, ""},
		"after a redirect":               {content.Media{URL: base + "/once"}, options, ``, content.Media{URL: "data:image/png;base64,cG5n", ContentType: "image/png"}, status.OK, ""},
		"a data URL stays":               {content.Media{URL: "data:,x"}, options, ``, content.Media{URL: "data:,x"}, status.OK, ""},
		"another scheme too":             {content.Media{URL: "gs://b/o"}, options, ``, content.Media{URL: "gs://b/o"}, status.OK, ""},
		"what the filter leaves":         {content.Media{URL: base + "/pic"}, downloadmedia.Options{Filter: func(content.Part) bool { return false }}, ``, content.Media{URL: base + "/pic"}, status.OK, ""},
		"too much":                       {content.Media{URL: base + "/big"}, options, ``, content.Media{}, status.InvalidArgument, "more than the 100 bytes"},
		"more than the caller wants":     {content.Media{URL: base + "/fits"}, options, `{"maxBytes":99}`, content.Media{}, status.InvalidArgument, "more than the 99 bytes"},
		"the caller can't allow more":    {content.Media{URL: base + "/big"}, options, `{"maxBytes":1000}`, content.Media{}, status.InvalidArgument, "more than the 100 bytes"},
		"a 404":                          {content.Media{URL: base + "/gone?sig=secret"}, options, ``, content.Media{}, status.NotFound, "HTTP error downloading media '" + base + "/gone': 404"},
		"a 503":                          {content.Media{URL: base + "/busy"}, options, ``, content.Media{}, status.Unavailable, "503"},
		"a server that does not answer":  {content.Media{URL: base + "/slow"}, options, ``, content.Media{}, status.DeadlineExceeded, "too long"},
		"redirects without end":          {content.Media{URL: base + "/round"}, options, ``, content.Media{}, status.InvalidArgument, "redirects"},
		"a redirect to a file":           {content.Media{URL: base + "/file"}, options, ``, content.Media{}, status.InvalidArgument, "redirects"},
		"a redirect with a password":     {content.Media{URL: base + "/login"}, options, ``, content.Media{}, status.InvalidArgument, "redirects"},
		"a redirect to the metadata":     {content.Media{URL: base + "/away"}, options, ``, content.Media{}, status.InvalidArgument, "not public"},
		"a password":                     {content.Media{URL: strings.Replace(base, "//", "//u:p@", 1) + "/pic"}, options, ``, content.Media{}, status.InvalidArgument, "can be downloaded"},
		"an address that nobody allowed": {content.Media{URL: base + "/pic"}, downloadmedia.Options{}, ``, content.Media{}, status.InvalidArgument, "not public"},
		"by a name":                      {content.Media{URL: strings.Replace(base, "127.0.0.1", "localhost", 1) + "/pic"}, downloadmedia.Options{}, ``, content.Media{}, status.InvalidArgument, "not public"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := call(t, c.options, c.config, c.media)
			require.Equal(t, c.code, status.Of(err), "%v", err)
			if err != nil {
				assert.Contains(t, err.Error(), c.message)
				assert.NotContains(t, err.Error(), "secret")
				assert.NotContains(t, err.Error(), "internal text")
				return
			}
			assert.Equal(t, &c.want, got.Messages[0].Content[1].Media)
		})
	}
}

func TestARequestIsBounded(t *testing.T) {
	base, hits := serve(t)
	options := downloadmedia.Options{Allow: loopback, MaxBytes: 100}
	var many []content.Media
	for range downloadmedia.MaxParts + 1 {
		many = append(many, content.Media{URL: base + "/pic"})
	}
	_, err := call(t, options, ``, many...)
	require.NoError(t, err)
	assert.EqualValues(t, 1, hits.Load(), "one URL is fetched once")
	for i := range many {
		many[i].URL += "?" + strings.Repeat("x", i)
	}
	_, err = call(t, options, ``, many...)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = call(t, options, ``, content.Media{URL: base + "/fits?1"}, content.Media{URL: base + "/fits?2"}, content.Media{URL: base + "/fits?3"}, content.Media{URL: base + "/fits?4"}, content.Media{URL: base + "/pic"})
	require.ErrorIs(t, err, status.ErrInvalidArgument, "all of it together")
}

func TestTheEndOfTheCallEndsTheDownload(t *testing.T) {
	base, _ := serve(t)
	f, err := downloadmedia.New(downloadmedia.Options{Allow: loopback})
	require.NoError(t, err)
	hooks, err := f.New(t.Context(), nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := &model.Request{Messages: []content.Message{{Content: []content.Part{{Media: &content.Media{URL: base + "/slow"}}}}}}
	_, err = hooks.Model(ctx, &middleware.ModelCall{Request: req}, nil)
	require.ErrorIs(t, err, status.ErrCancelled)
}

func TestThePluginRegistersTheMiddleware(t *testing.T) {
	reg := registry.New(nil)
	require.NoError(t, downloadmedia.Plugin(downloadmedia.Options{}).Register(t.Context(), reg))
	listed := middleware.List(reg)
	require.Len(t, listed, 1)
	assert.Equal(t, downloadmedia.Name, listed[0].Name)
}
