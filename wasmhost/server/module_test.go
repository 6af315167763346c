package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
)

func record(t *testing.T, r reply) module.Record {
	t.Helper()
	var rec module.Record
	require.NoError(t, json.Unmarshal([]byte(r.body), &rec), r.body)
	return rec
}

func TestModuleLife(t *testing.T) {
	w := newWorld(t, nil)
	assert.JSONEq(t, `{"modules":[]}`, w.do(http.MethodGet, tenant+"/modules", nil).body)

	created := w.put("calc", calc(t))
	require.Equal(t, http.StatusCreated, created.status, created.body)
	assert.Equal(t, tenant+"/modules/calc", created.header.Get("Location"))
	rec := record(t, created)
	assert.Equal(t, 1, rec.Revision)
	assert.Equal(t, []string{"/tool/calc/add", "/tool/calc/echo"}, rec.Actions)
	assert.JSONEq(t, `{"result":{"sum":3}}`, w.post("/tools/calc/add", `{"input":{"a":1,"b":2}}`).body)

	same := w.put("calc", calc(t))
	assert.Equal(t, http.StatusOK, same.status, "nothing changed")
	assert.Equal(t, rec, record(t, same))

	body, kind := form(t, "module", string(calc(t)), "policy", `{"limits":{"timeoutMs":900}}`)
	second := w.do(http.MethodPut, tenant+"/modules/calc", body, kind)
	require.Equal(t, http.StatusCreated, second.status, second.body)
	assert.Equal(t, 2, record(t, second).Revision)

	var versions struct{ Versions []module.Record }
	require.NoError(t, json.Unmarshal([]byte(w.do(http.MethodGet, tenant+"/modules/calc/versions", nil).body), &versions))
	require.Len(t, versions.Versions, 2)
	assert.True(t, versions.Versions[0].Current)

	back := w.do(http.MethodPost, tenant+"/modules/calc/rollback", nil)
	require.Equal(t, http.StatusOK, back.status, back.body)
	assert.Equal(t, 1, record(t, back).Revision)
	assert.Equal(t, 2, record(t, w.post("/modules/calc/rollback", `{"revision":2}`)).Revision)
	assert.Equal(t, 2, record(t, w.do(http.MethodGet, tenant+"/modules/calc", nil)).Revision)

	gone := w.do(http.MethodDelete, tenant+"/modules/calc", nil)
	assert.Equal(t, http.StatusNoContent, gone.status)
	assert.Empty(t, gone.body)
	assert.Equal(t, http.StatusNotFound, w.do(http.MethodGet, tenant+"/modules/calc", nil).status)
	assert.Equal(t, http.StatusNotFound, w.post("/tools/calc/add", `{"input":{"a":1,"b":2}}`).status)
}

func TestTenantsSeeTheirOwnModules(t *testing.T) {
	w := newWorld(t, nil)
	require.Equal(t, http.StatusCreated, w.put("calc", calc(t)).status)
	assert.JSONEq(t, `{"modules":[]}`, w.do(http.MethodGet, "/v1/tenants/acme/modules", nil).body)
	r := w.do(http.MethodPost, "/v1/tenants/acme/tools/calc/add", strings.NewReader(`{"input":{"a":1,"b":2}}`), jsonType)
	assert.Equal(t, http.StatusNotFound, r.status, r.body)
}

func TestSidecarMakesAnyPluginATool(t *testing.T) {
	w := newWorld(t, nil)
	body, kind := form(t,
		"descriptor", `{"abi":"genkit/1","name":"x","tools":[{"name":"sum","export":"add"}]}`,
		"policy", `{}`, "module", string(calc(t)))
	r := w.do(http.MethodPut, tenant+"/modules/other", body, kind)
	require.Equal(t, http.StatusCreated, r.status, r.body)
	assert.Equal(t, "sidecar", record(t, r).DescriptorSource)
	assert.JSONEq(t, `{"result":{"sum":3}}`, w.post("/tools/sum", `{"input":{"a":1,"b":2}}`).body)
}

func TestRefusedUploadsChangeNothing(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.MaxUploadBytes = 64 << 10 })
	wasm := calc(t)
	require.Equal(t, http.StatusCreated, w.put("calc", wasm).status)
	big := strings.Repeat("x", 64<<10+1)
	twice, twiceKind := form(t, "module", string(wasm), "module", string(wasm))
	foreign, foreignKind := form(t, "module", string(wasm), "polciy", "{}")
	noModule, noModuleKind := form(t, "policy", "{}")
	badPolicy, badPolicyKind := form(t, "module", string(wasm), "policy", `{"limits":{"feul":1}}`)
	bigPart, bigPartKind := form(t, "module", big)
	bigDescriptor, bigDescriptorKind := form(t, "descriptor", strings.Repeat(" ", 256<<10+1), "module", string(wasm))
	for name, test := range map[string]struct {
		reply  reply
		status int
		code   string
		says   string
	}{
		"bytes that are no module":  {w.put("calc", []byte("hello")), 400, "INVALID_ARGUMENT", "not WebAssembly"},
		"no bytes":                  {w.put("calc", nil), 400, "INVALID_ARGUMENT", "no module"},
		"a module that is cut":      {w.put("calc", wasm[:len(wasm)-9]), 400, "INVALID_ARGUMENT", "module refused"},
		"more bytes than allowed":   {w.put("calc", []byte(big)), 413, "INVALID_ARGUMENT", "65536"},
		"a type that is no module":  {w.put("calc", wasm, "Content-Type: text/plain"), 415, "INVALID_ARGUMENT", "application/wasm"},
		"a form without a boundary": {w.put("calc", wasm, "Content-Type: multipart/form-data"), 400, "INVALID_ARGUMENT", "multipart"},
		"a form that is none":       {w.put("calc", wasm, "Content-Type: multipart/form-data; boundary=x"), 400, "INVALID_ARGUMENT", ""},
		"a form with a part twice":  {w.do("PUT", tenant+"/modules/calc", twice, twiceKind), 400, "INVALID_ARGUMENT", "twice"},
		"a form whose part has two names": {w.do("PUT", tenant+"/modules/calc", strings.NewReader("--b\r\nContent-Disposition: form-data; name=\"module\"\r\nContent-Disposition: form-data; name=\"policy\"\r\n\r\n"+
			string(wasm)+"\r\n--b--\r\n"), "Content-Type: multipart/form-data; boundary=b"), 400, "INVALID_ARGUMENT", "two names"},
		"a form with an unknown part":   {w.do("PUT", tenant+"/modules/calc", foreign, foreignKind), 400, "INVALID_ARGUMENT", "polciy"},
		"a form without a module":       {w.do("PUT", tenant+"/modules/calc", noModule, noModuleKind), 400, "INVALID_ARGUMENT", "no module"},
		"a policy with a mistyped name": {w.do("PUT", tenant+"/modules/calc", badPolicy, badPolicyKind), 400, "INVALID_ARGUMENT", "feul"},
		"a part over its limit":         {w.do("PUT", tenant+"/modules/calc", bigPart, bigPartKind), 413, "INVALID_ARGUMENT", "65536"},
		"a descriptor over its limit":   {w.do("PUT", tenant+"/modules/calc", bigDescriptor, bigDescriptorKind), 413, "INVALID_ARGUMENT", "262144"},
		"a name that is none":           {w.put("a%20b", wasm), 400, "INVALID_ARGUMENT", "module name"},
		"a name with a slash":           {w.put("a%2Fb", wasm), 400, "INVALID_ARGUMENT", "module name"},
		"a tenant that is not there":    {w.do("PUT", "/v1/tenants/nobody/modules/calc", strings.NewReader(string(wasm)), wasmType), 404, "NOT_FOUND", "nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.status, test.reply.status, test.reply.body)
			p := test.reply.problem(t)
			assert.Equal(t, test.code, p.StatusName)
			assert.Contains(t, p.Detail, test.says)
		})
	}
	records, err := w.host.Modules("default")
	require.NoError(t, err)
	require.Len(t, records, 1)
	assert.Equal(t, 1, records[0].Revision)
}

func TestUploadOfUnknownLengthIsBounded(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.MaxUploadBytes = 64 << 10 })
	for name, want := range map[string]int{"calc": http.StatusCreated, "big": http.StatusRequestEntityTooLarge} {
		content := string(calc(t))
		if name == "big" {
			content = strings.Repeat("x", 1<<20)
		}
		// A reader whose length is not known is sent in chunks.
		r := w.do(http.MethodPut, tenant+"/modules/"+name, struct{ *strings.Reader }{strings.NewReader(content)}, wasmType)
		assert.Equal(t, want, r.status, r.body)
	}
}

func TestTruncatedUploadChangesNothing(t *testing.T) {
	w := newWorld(t, nil)
	wasm := calc(t)
	body, kind := form(t, "module", string(wasm))
	whole := make([]byte, 1<<20)
	n, _ := body.Read(whole)
	whole = whole[:n]
	for name, send := range map[string]struct {
		kind    string
		content []byte
	}{
		"a module":                              {wasmType, wasm},
		"a form, in the middle":                 {kind, whole[:n/2]},
		"a form, after all of its parts":        {kind, whole},
		"a form, in the middle of its last row": {kind, whole[:n-4]},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", w.Listener.Addr().String())
			require.NoError(t, err)
			defer conn.Close()
			_, err = fmt.Fprintf(conn, "PUT %s/modules/calc HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: %d\r\n\r\n%s", tenant, send.kind, len(send.content)+7, send.content)
			require.NoError(t, err)
			require.NoError(t, conn.(*net.TCPConn).CloseWrite())
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			defer resp.Body.Close()
			assert.Equal(t, http.StatusBadRequest, resp.StatusCode)
		})
	}
	records, err := w.host.Modules("default")
	require.NoError(t, err)
	assert.Empty(t, records)
}

func TestSlowBodyIsCutOff(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.ReadTimeout = 50 * time.Millisecond })
	for _, head := range []string{
		"PUT " + tenant + "/modules/calc HTTP/1.1\r\n" + wasmType,
		"POST " + tenant + "/generate HTTP/1.1\r\n" + jsonType,
	} {
		conn, err := net.Dial("tcp", w.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "%s\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", head)
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		defer resp.Body.Close()
		assert.Equal(t, http.StatusRequestTimeout, resp.StatusCode)
	}
}

func TestRollbackRefusesWhatItDoesNotKnow(t *testing.T) {
	w := newWorld(t, nil)
	require.Equal(t, http.StatusCreated, w.put("calc", calc(t)).status)
	for body, want := range map[string]string{
		`{"revision":0}`:     "INVALID_ARGUMENT",
		`{"revision":-1}`:    "INVALID_ARGUMENT",
		`{"revision":"1"}`:   "INVALID_ARGUMENT",
		`{"revision":1.5}`:   "INVALID_ARGUMENT",
		`{"revison":1}`:      "INVALID_ARGUMENT",
		`[]`:                 "INVALID_ARGUMENT",
		`null`:               "INVALID_ARGUMENT",
		`{"revision":9}`:     "NOT_FOUND",
		``:                   "FAILED_PRECONDITION", // there is none before
		`{}`:                 "FAILED_PRECONDITION",
		`{"revision":1e999}`: "INVALID_ARGUMENT",
	} {
		assert.Equal(t, want, w.post("/modules/calc/rollback", body).problem(t).StatusName, body)
	}
}
