package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
)

// reader takes a response, and leaves after so many writes.
type reader struct {
	*httptest.ResponseRecorder
	writes, biggest, most int
}

func (r *reader) Write(p []byte) (int, error) {
	if r.writes++; r.most > 0 && r.writes > r.most {
		return 0, errors.New("the reader has left")
	}
	r.biggest = max(r.biggest, len(p))
	return r.ResponseRecorder.Write(p)
}

// Lists were built whole for each reader: 48 MB of a tenant with 100 modules.
func TestListsAreWrittenItemByItem(t *testing.T) {
	var handler http.Handler
	var host *wasmhost.Host
	w := newWorldOf(t, wasmhost.Config{ReplaceVersions: true}, func(c *server.Config) {
		srv, err := server.New(*c)
		require.NoError(t, err)
		handler, host = srv.Handler(), c.Host
	})
	const modules = 10
	text := strings.Repeat("x", 50_000)
	for i := range modules {
		for range 1 + i/9 { // the last one twice
			_, err := w.host.Load(t.Context(), "default", wasmhost.Upload{Name: fmt.Sprintf("m%d", i), Wasm: calc(t), Descriptor: fmt.Appendf(nil,
				`{"abi":"genkit/1","name":"x","tools":[{"name":"sum","description":"%d %s","export":"add"}]}`, i, text)})
			require.NoError(t, err)
			text += "y"
		}
	}
	for path, want := range map[string]struct {
		member string
		items  int
	}{"/modules": {"modules", modules}, "/modules/m9/versions": {"versions", 2}, "/actions?type=tool": {"actions", modules}} {
		t.Run(path, func(t *testing.T) {
			whole := &reader{ResponseRecorder: httptest.NewRecorder()}
			handler.ServeHTTP(whole, httptest.NewRequestWithContext(t.Context(), http.MethodGet, tenant+path, nil))
			require.Equal(t, http.StatusOK, whole.Code)
			var got map[string][]json.RawMessage
			require.NoError(t, json.Unmarshal(whole.Body.Bytes(), &got))
			assert.GreaterOrEqual(t, len(got[want.member]), want.items)
			assert.Len(t, got, 1)
			assert.Less(t, whole.biggest, 60_000, "one item at a time")

			gone := &reader{ResponseRecorder: httptest.NewRecorder(), most: 1}
			assert.Panics(t, func() {
				handler.ServeHTTP(gone, httptest.NewRequestWithContext(t.Context(), http.MethodGet, tenant+path, nil))
			}, "the connection ends")
			assert.Equal(t, 2, gone.writes, "nothing more is made for a reader who has left")

			head := &reader{ResponseRecorder: httptest.NewRecorder()}
			handler.ServeHTTP(head, httptest.NewRequestWithContext(t.Context(), http.MethodHead, tenant+path, nil))
			assert.Zero(t, head.writes)
		})
	}
	t.Run("so many at a time", func(t *testing.T) {
		var ends []func()
		for range 8 {
			end, err := host.BeginList(t.Context(), "default")
			require.NoError(t, err)
			ends = append(ends, end)
		}
		answers := make(chan int)
		for range 64 + 10 {
			go func() {
				rec := httptest.NewRecorder()
				handler.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, tenant+"/modules", nil))
				answers <- rec.Code
			}()
		}
		for range 10 {
			assert.Equal(t, http.StatusTooManyRequests, <-answers, "at once")
		}
		assert.Equal(t, http.StatusOK, w.do(http.MethodGet, "/v1/tenants/acme/modules", nil).status, "another tenant's")
		for _, end := range ends {
			end()
		}
		for range 64 {
			assert.Equal(t, http.StatusOK, <-answers)
		}
	})
}
