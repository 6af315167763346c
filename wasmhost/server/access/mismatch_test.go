package access_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

// The log says which issuer a discovery document names in the place of the one that was set, and the caller learns nothing of it.
func TestALogNamesTheIssuerOfADiscovery(t *testing.T) {
	long := "https://auth.example.com/" + strings.Repeat("application/o/tools/", 10)
	for found, says := range map[string]string{
		"ISSUER/":                          `the document is of the issuer "ISSUER/"`,
		long:                               `the document is of the issuer "` + long + `"`,
		"https://u:hidden@b.example/":      `the document is of the issuer "https://b.example/"`,
		"https://b.example/?k=hidden#hid":  `the document is of the issuer "https://b.example/"`,
		"https://b.example/\nhidden":       "the document is of another issuer, which is no URL",
		"https://b.example/\u202ehidden":   `the document is of the issuer "https://b.example/%E2%80%AEhidden"`,
		long + strings.Repeat("x", 90_000): `…"; set that one`,
		"":                                 `the document is of the issuer ""`,
	} {
		i := newIssuer(t)
		i.set(func() { i.document["issuer"] = strings.Replace(found, "ISSUER", i.URL, 1) })
		var log bytes.Buffer
		c := i.config()
		c.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		o, err := access.NewOIDC(c)
		require.NoError(t, err)
		_, err = ask(o, sign(t, ecKey(t, "one"), i.claims(nil), nil))
		require.Equal(t, status.Unavailable, status.Of(err), "%.80q: %v", found, err)
		assert.NotContains(t, status.Convert(err).Message, "example.com")
		var line struct{ Error, Issuer string }
		require.NoError(t, json.Unmarshal(log.Bytes(), &line), "one line")
		assert.Equal(t, i.URL, line.Issuer)
		assert.Contains(t, line.Error, strings.Replace(says, "ISSUER", i.URL, 1))
		assert.Less(t, len(line.Error), 450)
		if !strings.Contains(says, "hidden") {
			assert.NotContains(t, line.Error, "hid")
		}
	}
	i := newIssuer(t)
	i.set(func() {
		i.discovery = func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte("no upstream \u202e\x1b[1m " + strings.Repeat("y", 9000)))
		}
	})
	var log bytes.Buffer
	c := i.config()
	c.Logger = slog.New(slog.NewJSONHandler(&log, nil))
	o, err := access.NewOIDC(c)
	require.NoError(t, err)
	_, err = ask(o, sign(t, ecKey(t, "one"), i.claims(nil), nil))
	require.Equal(t, status.Unavailable, status.Of(err))
	assert.Contains(t, log.String(), "502 Bad Gateway: no upstream   [1m yyy")
	assert.Less(t, log.Len(), 800)
}
