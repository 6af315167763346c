package server_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A filter that is mistyped would be none: a report of all tenants in the place of one's.
func TestAQueryThatIsNotUnderstoodIsRefused(t *testing.T) {
	g := newGuarded(t, nil)
	admin := bearer(g.key("admin"))
	for path, want := range map[string]int{
		"/v1/usage?tenant=acme":               http.StatusOK,
		"/v1/usage?tennant=acme":              http.StatusBadRequest,
		"/v1/usage?Tenant=acme":               http.StatusBadRequest,
		"/v1/usage?tenant=acme;by=tool":       http.StatusBadRequest,
		"/v1/usage?tenant=%zz":                http.StatusBadRequest,
		"/v1/usage?tenant=acme&tenant=globex": http.StatusBadRequest,
		"/v1/usage?tenant=acme&%74enant=x":    http.StatusBadRequest,
		"/v1/audit?whoo=key:a":                http.StatusBadRequest,
		"/v1/audit?limit=2&limit=5":           http.StatusBadRequest,
		"/v1/audit?limit=2":                   http.StatusOK,
		"/v1/tenants?limit=1;cursor=x":        http.StatusBadRequest,
		"/v1/keys?limit=1&state=active":       http.StatusBadRequest,
		"/v1/tenants/default/actions?kind=x":  http.StatusBadRequest,
		"/v1/tenants/default/actions?type=x":  http.StatusOK,
		"/v1/tenants/default/modules?limit=1": http.StatusOK,
		"/v1/tenants/default/modules?tag=a":   http.StatusBadRequest,
		"/v1/identity?_=1":                    http.StatusOK, // it has no parameters
		"/healthz?probe=1":                    http.StatusOK,
	} {
		assert.Equal(t, want, g.ask(http.MethodGet, path, admin).status, path)
	}
}
