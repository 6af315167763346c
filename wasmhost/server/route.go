package server

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

const (
	tenantPath = "/v1/tenants/:tenant"
	mcpPath    = tenantPath + "/mcp"
)

// route is one operation: where it is, who may use it, what answers it, and what the
// document says of it.
type route struct {
	method, path string // path as Echo writes it
	scope        access.Scope
	handle       echo.HandlerFunc
	doc          operation
}

// ruleKey is where the rule of a route is found: its method and its path, as Echo writes it.
type ruleKey struct{ method, path string }

// The rules of routes that no scope of access expresses. Every route has a rule, or a
// scope, and New fails for one that has none.
const (
	// open lets everybody in.
	open access.Scope = "open"
	// signedIn lets everybody in who has an identity, whatever its scopes are.
	signedIn access.Scope = "signed in"
)

// audited reports whether a route changes something that an operator or a manager of a tenant
// answers for. Tool calls, generate calls and flows are not audited, nor is what is read.
func audited(r route) bool {
	return r.method != http.MethodGet && (r.scope == access.Admin || r.scope == access.Manage)
}

func checkRule(r route) error {
	tenant := strings.Contains(r.path, ":tenant")
	switch r.scope {
	case open, signedIn, access.Admin:
		return nil
	case access.Manage, access.Invoke, access.Read:
		if tenant {
			return nil
		}
	}
	return status.Errorf(status.Internal, "server: the route %s %s needs a rule, and %q is none for it", r.method, r.path, r.scope)
}

func isFlow(c echo.Context) bool { return c.Path() == tenantPath+"/flows/*" }

// ofOperator reports whether a route is about tenants and not theirs: what a tenant may do
// does not bound it.
func ofOperator(c echo.Context) bool {
	switch c.Path() {
	case tenantPath, tenantPath + "/suspend", tenantPath + "/resume", tenantPath + "/repair":
		return true
	}
	return false
}

// openAIPath is the base URL that clients of OpenAI's API are given.
const openAIPath = tenantPath + "/openai/v1"

// isOpenAI reports requests whose failures OpenAI's clients read.
func isOpenAI(c echo.Context) bool { return strings.HasPrefix(c.Path(), openAIPath+"/") }
