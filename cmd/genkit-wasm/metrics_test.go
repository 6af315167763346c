package main

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each failure that an operator has to hear of shows in the metrics of a server that has it.
func TestMetricsTellWhatGoesWrong(t *testing.T) {
	idp := httptest.NewServer(http.NotFoundHandler()) // an issuer whose keys can't be had
	defer idp.Close()
	data := t.TempDir()
	cert, key := certificate(t, t.TempDir(), 1)
	url, admin, _, stop := startGuarded(t, data, "--addr", "0.0.0.0:0", "--allowed-host", "127.0.0.1", "--tls-cert", cert, "--tls-key", key,
		"--max-connections", "1", "--usage", "/dev/full", "--load", calcFile,
		"--oidc", fmt.Sprintf(`{"issuer":%q,"audience":"tools","rules":[{"claim":"groups","value":"ops","scopes":["admin"]}]}`, idp.URL))
	defer stop()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(url, "https://"))
	require.NoError(t, err)
	addr := net.JoinHostPort("127.0.0.1", port)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // of this test
	try := func(method, path, key, body string) (int, string, error) {
		r, err := http.NewRequestWithContext(t.Context(), method, "https://"+addr+path, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(r)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text), err
	}
	do := func(method, path, key, body string) (code int, text string) {
		t.Helper()
		require.Eventually(t, func() (ok bool) { // the one connection that there may be has to be free
			var err error
			code, text, err = try(method, path, key, body)
			return err == nil
		}, 20*time.Second, 5*time.Millisecond)
		return code, text
	}
	samples := func() map[string]float64 {
		t.Helper()
		code, text := do(http.MethodGet, "/metrics", admin, "")
		require.Equal(t, http.StatusOK, code, text)
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		require.NoError(t, err)
		for _, p := range problems {
			assert.False(t, strings.HasPrefix(p.Metric, "genkit_"), "%s: %s", p.Metric, p.Text)
		}
		all := map[string]float64{}
		for line := range strings.Lines(text) {
			at := strings.LastIndexByte(strings.TrimSpace(line), ' ')
			if name, ok := strings.CutPrefix(line, "genkit_wasm_"); ok {
				value, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64)
				require.NoError(t, err, line)
				all[name[:at-len("genkit_wasm_")]] = value
			}
		}
		return all
	}
	before := samples()
	assert.InDelta(t, float64(time.Now().Add(time.Hour).Unix()), before["tls_certificate_not_after_timestamp_seconds"], 600)
	issuer := fmt.Sprintf("{issuer=%q}", idp.URL)
	for _, name := range []string{
		"oidc_keys_failing" + issuer, "audit_failing", "audit_failed_entries_total", "usage_journal_unwritten_events",
		`sign_ins_refused_total{reason="invalid"}`, `connections_closed_total{reason="source"}`,
	} {
		value, there := before[name]
		assert.True(t, there, name)
		assert.Zero(t, value, name)
	}

	code, _ := do(http.MethodGet, "/v1/identity", "gwk_wrong", "")
	assert.Equal(t, http.StatusUnauthorized, code)
	code, _ = do(http.MethodGet, "/v1/identity", unsigned(t, idp.URL), "")
	assert.Equal(t, http.StatusServiceUnavailable, code)
	code, text := do(http.MethodPost, "/v1/tenants/default/tools/calc/add", admin, `{"input":{"a":1,"b":2}}`)
	assert.Equal(t, http.StatusOK, code, text)
	code, _ = do(http.MethodPost, "/v1/tenants/default/tools/calc/none", admin, `{"input":{}}`)
	assert.Equal(t, http.StatusNotFound, code)
	logs, err := filepath.Glob(filepath.Join(data, "audit", "*"))
	require.NoError(t, err)
	moved := map[string]string{}
	for i, file := range logs {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			moved[file] = filepath.Join(t.TempDir(), strconv.Itoa(i))
			require.NoError(t, os.Rename(file, moved[file]))
		}
	}
	code, _ = do(http.MethodPost, "/v1/tenants", admin, `{"name":"acme"}`)
	assert.Equal(t, http.StatusServiceUnavailable, code, "the audit log is gone")
	during := samples()
	assert.InDelta(t, 1, during["audit_failing"], 0)
	assert.Positive(t, during["audit_failed_entries_total"])
	for file, to := range moved {
		require.NoError(t, os.Rename(to, file))
	}
	code, text = do(http.MethodPost, "/v1/tenants", admin, `{"name":"acme"}`)
	assert.Equal(t, http.StatusCreated, code, text)

	var dialer net.Dialer
	held, err := dialer.DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, _, err := try(http.MethodGet, "/healthz", "", "")
		return err != nil
	}, 20*time.Second, 5*time.Millisecond, "the one connection is taken")
	require.NoError(t, held.Close())

	after := samples()
	assert.InDelta(t, 0, after["audit_failing"], 0)
	for name, least := range map[string]float64{
		`sign_ins_refused_total{reason="invalid"}`: 1, `sign_ins_refused_total{reason="unavailable"}`: 1, "oidc_keys_failing" + issuer: 1,
		`connections_closed_total{reason="limit"}`: 1, "usage_journal_unwritten_events": 1, `usage_refused_calls_total{reason="notFound"}`: 1,
	} {
		assert.GreaterOrEqual(t, after[name], least, name)
	}
}

// unsigned is a token that names an issuer.
func unsigned(t *testing.T, issuer string) string {
	t.Helper()
	part := func(v any) string {
		raw, err := json.Marshal(v)
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	return part(map[string]string{"alg": "RS256", "kid": "k"}) + "." + part(map[string]any{"iss": issuer, "aud": "tools", "sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}) + ".c2ln"
}
