package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
)

const (
	tenantsPath    = "/v1/tenants"
	operationsPath = "/v1/operations"
)

// tenantTable has the routes of a server whose tenants are resources.
func (s *Server) tenantTable() []route {
	if s.config.Tenants == nil {
		return nil
	}
	return []route{
		{http.MethodGet, tenantsPath, access.Admin, s.listTenants, docListTenants},
		{http.MethodPost, tenantsPath, access.Admin, s.createTenant, docCreateTenant},
		{http.MethodGet, tenantPath, access.Admin, s.getTenant, docGetTenant},
		{http.MethodPatch, tenantPath, access.Admin, s.changeTenant, docChangeTenant},
		{http.MethodDelete, tenantPath, access.Admin, s.deleteTenant, docDeleteTenant},
		{http.MethodPost, tenantPath + "/suspend", access.Admin, s.suspendTenant, docSuspendTenant},
		{http.MethodPost, tenantPath + "/resume", access.Admin, s.resumeTenant, docResumeTenant},
		{http.MethodPost, tenantPath + "/repair", access.Admin, s.repairTenant, docRepairTenant},
		{http.MethodGet, tenantPath + "/budget", access.Read, s.getBudget, docGetBudget},
		{http.MethodGet, operationsPath, access.Admin, s.listOperations, docListOperations},
		{http.MethodGet, operationsPath + "/:operation", access.Admin, s.getOperation, docGetOperation},
	}
}

var (
	docListTenants = operation{
		id: "listTenants", tag: "tenants", summary: "List the tenants",
		list: "tenants", params: []string{"limit", "cursor"},
		responses: map[int]answerDoc{http.StatusOK: {text: "Some tenants, by name; \"cursor\" is there when there are more.", content: jsonOf("TenantList"), links: links{"getTenant": {"tenant": "$response.body#/tenants/0/name"}}}},
		failures:  []int{400, 403},
	}
	docCreateTenant = operation{
		id: "createTenant", tag: "tenants", summary: "Create a tenant",
		text:    sentAgain,
		params:  []string{"idempotencyKey"},
		request: jsonOf("NewTenant"),
		responses: map[int]answerDoc{
			http.StatusCreated: {text: "The tenant, which runs.", content: jsonOf("Tenant"), headers: []string{"Location", "ETag", "Idempotency-Replayed"}, links: afterTenant("$response.body#/name")},
		},
		failures: []int{400, 403, 408, 409, 413, 415, 422, 429, 503},
	}
	docGetTenant = operation{
		id: "getTenant", tag: "tenants", summary: "Get a tenant",
		params: []string{"ifNoneMatch"},
		responses: map[int]answerDoc{
			http.StatusOK:          {text: "The tenant.", content: jsonOf("Tenant"), headers: []string{"ETag"}},
			http.StatusNotModified: {text: "It is the one that If-None-Match names.", headers: []string{"ETag"}},
		},
		failures: []int{403, 404},
	}
	docChangeTenant = operation{
		id: "changeTenant", tag: "tenants", summary: "Change a tenant's settings",
		text: "The body is a JSON merge patch (RFC 7396): members replace those that are there, null removes one, objects are merged. " +
			"Calls under way end under the settings with which they began.",
		params:    []string{"ifMatchWanted"},
		request:   map[string]any{mergePatchType: ref("TenantPatch"), "application/json": ref("TenantPatch")},
		responses: map[int]answerDoc{http.StatusOK: {text: "The tenant as it is now.", content: jsonOf("Tenant"), headers: []string{"ETag"}, links: afterTenant("$response.body#/name")}},
		failures:  []int{400, 403, 404, 408, 409, 412, 413, 415, 428, 429, 503},
	}
	docDeleteTenant = operation{
		id: "deleteTenant", tag: "tenants", summary: "Delete a tenant and everything that belongs to it",
		text: "Its calls end at once, and its name is taken until the operation has succeeded. Asked for again, the answer is the operation that is under way. " +
			"409 for the tenant \"default\".",
		params: []string{"ifMatch"},
		responses: map[int]answerDoc{
			http.StatusAccepted: {
				text: "The operation that deletes it; it goes on after a restart.", content: jsonOf("Operation"), headers: []string{"Location"},
				links: links{"getOperation": {"operation": "$response.body#/id"}},
			},
		},
		failures: []int{403, 404, 409, 412, 429, 503},
	}
	docSuspendTenant = operation{
		id: "suspendTenant", ends: true, tag: "tenants", summary: "Suspend a tenant",
		text:      "Its calls, uploads and generate calls end and are answered with 403 until it is resumed. Its modules stay, and can be read and removed.",
		params:    []string{"ifMatch"},
		responses: map[int]answerDoc{http.StatusOK: {text: "The tenant as it is now.", content: jsonOf("Tenant"), headers: []string{"ETag"}, links: afterTenant("$response.body#/name")}},
		failures:  []int{403, 404, 409, 412, 429, 503},
	}
	docResumeTenant = operation{
		id: "resumeTenant", tag: "tenants", summary: "Let a suspended tenant run again",
		params:    []string{"ifMatch"},
		responses: map[int]answerDoc{http.StatusOK: {text: "The tenant as it is now.", content: jsonOf("Tenant"), headers: []string{"ETag"}, links: afterTenant("$response.body#/name")}},
		failures:  []int{403, 404, 409, 412, 429, 503},
	}
	docRepairTenant = operation{
		id: "repairTenant", tag: "tenants", summary: "Write a damaged tenant's record anew",
		text: "The tenant has the settings of the body then, those of the server's start without one, and runs; its modules and what they have stored are kept. " +
			"Where its id is lost with the record it gets a new one, and its secrets have to be set again. 409 when the record is not damaged.",
		request:   jsonOf("TenantSettings"),
		optional:  true,
		responses: map[int]answerDoc{http.StatusOK: {text: "The tenant, which runs.", content: jsonOf("Tenant"), headers: []string{"ETag"}, links: afterTenant("$response.body#/name")}},
		failures:  []int{400, 403, 404, 408, 409, 413, 415, 429, 503},
	}
	docGetBudget = operation{
		id: "getBudget", tag: "tenants", summary: "Get what a tenant has used of its budget",
		text:      "Model tokens of this day and this month, which are those of UTC.",
		responses: map[int]answerDoc{http.StatusOK: {text: "The two periods.", content: jsonOf("Spent")}},
		failures:  []int{403, 404},
	}
	docListOperations = operation{
		id: "listOperations", tag: "tenants", summary: "List operations",
		text: "What goes on after the request that began it, newest first. One that has ended can be read for seven days, and the last 1,000 of them.",
		list: "operations", params: []string{"limit", "cursor"},
		responses: map[int]answerDoc{http.StatusOK: {text: "Some operations; \"cursor\" is there when there are more.", content: jsonOf("OperationList"), links: links{"getOperation": {"operation": "$response.body#/operations/0/id"}}}},
		failures:  []int{400, 403},
	}
	docGetOperation = operation{
		id: "getOperation", tag: "tenants", summary: "Get an operation",
		responses: map[int]answerDoc{http.StatusOK: {text: "The operation.", content: jsonOf("Operation")}},
		failures:  []int{403, 404},
	}
)

// afterTenant are the operations that can follow one whose answer has a tenant.
func afterTenant(name string) links {
	just, changed := map[string]string{"tenant": name}, map[string]string{"tenant": name, "If-Match": "$response.header.ETag"}
	return links{}.with(just, "getTenant", "putModule", "listModules", "listActions", "getUsage", "getBudget", "runTool", "runFlow", "generate").
		with(changed, "changeTenant", "suspendTenant", "resumeTenant", "deleteTenant")
}

const mergePatchType = "application/merge-patch+json"

func (s *Server) listTenants(c echo.Context) error {
	p, err := readPage(c, "tenants", defaultPage)
	if err != nil {
		return err
	}
	tenants, more := s.config.Tenants.List(p.after, p.limit)
	next := ""
	if more {
		next = p.next(tenants[len(tenants)-1].Name, true)
	}
	return writeLists(c, next, listOf("tenants", tenants, true))
}

// createTenant reads {"name", …settings}.
func (s *Server) createTenant(c echo.Context) error {
	body, err := s.readSettings(c, "application/json")
	if err != nil {
		return err
	}
	var spec struct {
		Name string `json:"name"`
		admin.Settings
	}
	if err := schema.Decode(body, &spec, schema.RefuseUnknown); err != nil {
		return status.Publicf(status.InvalidArgument, "body: %w", err)
	}
	if spec.Name == "" {
		return status.Publicf(status.InvalidArgument, "body: \"name\" is missing")
	}
	if hasNull(body) {
		return status.Publicf(status.InvalidArgument, "body: null is for changes; leave out what a tenant is not to have")
	}
	canonical, err := rawjson.Encode(spec)
	if err != nil {
		return status.Errorf(status.Internal, "encode a request: %w", err)
	}
	a, replayed, err := s.once(c, "", []string{http.MethodPost, tenantsPath, string(canonical)}, func(hash string) (admin.Answer, error) {
		made, err := s.config.Tenants.Create(c.Request().Context(), spec.Name, spec.Settings, hash)
		if err != nil {
			return admin.Answer{}, err
		}
		raw, err := rawjson.Encode(made)
		return admin.Answer{Status: http.StatusCreated, Location: pathOf(made.Name), ETag: etagOf(made.Revision), Body: raw}, err
	})
	if err != nil {
		return err
	}
	return writeAnswer(c, a, replayed)
}

// hasNull reports whether a JSON document has a null anywhere.
func hasNull(body json.RawMessage) bool {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	for {
		switch token, err := dec.Token(); {
		case err != nil:
			return false
		case token == nil:
			return true
		}
	}
}

// readSettings reads a body that is no tenant's, and so waits in no tenant's turn.
func (s *Server) readSettings(c echo.Context, types ...string) (json.RawMessage, error) {
	body, err := s.readTyped(c, admin.MaxSettingsBytes, types...)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return nil, status.Publicf(status.InvalidArgument, "body: want a JSON object")
	}
	return body, nil
}

func pathOf(tenant string) string { return tenantsPath + "/" + url.PathEscape(tenant) }

func (s *Server) writeTenant(c echo.Context, code int, t admin.Tenant) error {
	c.Response().Header().Set("ETag", etagOf(t.Revision))
	return writeJSON(c, code, t)
}

func (s *Server) getTenant(c echo.Context) error {
	t, err := s.config.Tenants.Get(param(c, "tenant"))
	if err != nil {
		return err
	}
	if unchanged(c, etagOf(t.Revision)) {
		return c.NoContent(http.StatusNotModified)
	}
	return s.writeTenant(c, http.StatusOK, t)
}

// change finds the revision that a request is about, has it changed, and answers with the
// tenant as it is then.
func (s *Server) change(c echo.Context, wanted bool, change func(name, revision string) (admin.Tenant, error)) error {
	name, revision, err := s.expectedTenant(c, wanted)
	if err != nil {
		return err
	}
	t, err := change(name, revision)
	if errors.Is(err, admin.ErrStale) {
		return stale(err)
	}
	if err != nil {
		return err
	}
	return s.writeTenant(c, http.StatusOK, t)
}

func (s *Server) expectedTenant(c echo.Context, wanted bool) (name, revision string, err error) {
	t, err := s.config.Tenants.Get(param(c, "tenant"))
	if err != nil {
		return "", "", err
	}
	revision, err = expected(c.Request().Header, t.Revision, wanted)
	return t.Name, revision, err
}

func (s *Server) changeTenant(c echo.Context) error {
	// Errors that can be known before the body is read are sent before it is.
	if _, _, err := s.expectedTenant(c, true); err != nil {
		return err
	}
	patch, err := s.readSettings(c, mergePatchType, "application/json")
	if err != nil {
		return err
	}
	return s.change(c, true, func(name, revision string) (admin.Tenant, error) {
		return s.config.Tenants.Change(c.Request().Context(), name, revision, func(now admin.Settings) (admin.Settings, error) { return now.Merge(patch) })
	})
}

func (s *Server) suspendTenant(c echo.Context) error {
	return s.change(c, false, func(name, revision string) (admin.Tenant, error) {
		return s.config.Tenants.Suspend(c.Request().Context(), name, revision)
	})
}

func (s *Server) resumeTenant(c echo.Context) error {
	return s.change(c, false, func(name, revision string) (admin.Tenant, error) {
		return s.config.Tenants.Resume(c.Request().Context(), name, revision)
	})
}

// repairTenant reads settings, or nothing.
func (s *Server) repairTenant(c echo.Context) error {
	name := param(c, "tenant")
	if _, err := s.config.Tenants.Get(name); err != nil {
		return err
	}
	body, err := s.readTyped(c, admin.MaxSettingsBytes, "application/json")
	if err != nil {
		return err
	}
	var settings *admin.Settings
	if len(body) > 0 {
		if hasNull(body) {
			return status.Publicf(status.InvalidArgument, "body: null is for changes; leave out what a tenant is not to have")
		}
		parsed, err := admin.ParseSettings(body)
		if err != nil {
			return err
		}
		settings = &parsed
	}
	t, err := s.config.Tenants.Repair(c.Request().Context(), name, settings)
	if status.Of(err) == status.FailedPrecondition {
		return withHTTP(http.StatusConflict, err)
	}
	if err != nil {
		return err
	}
	return s.writeTenant(c, http.StatusOK, t)
}

func (s *Server) deleteTenant(c echo.Context) error {
	name, revision, err := s.expectedTenant(c, false)
	if err != nil {
		return err
	}
	o, err := s.config.Tenants.Delete(c.Request().Context(), name, revision)
	switch {
	case errors.Is(err, admin.ErrStale):
		return stale(err)
	case status.Of(err) == status.FailedPrecondition:
		return withHTTP(http.StatusConflict, err) // it is the tenant that always is there
	}
	if err != nil {
		return err
	}
	c.Response().Header().Set("Location", operationsPath+"/"+o.ID)
	return writeJSON(c, http.StatusAccepted, o)
}

func (s *Server) getBudget(c echo.Context) error {
	spent, err := s.config.Tenants.Spent(param(c, "tenant"))
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, spent)
}

func (s *Server) listOperations(c echo.Context) error {
	p, err := readPage(c, "operations", defaultPage)
	if err != nil {
		return err
	}
	list, more := s.config.Tenants.Operations(p.after, p.limit)
	next := ""
	if more {
		next = p.next(list[len(list)-1].ID, true)
	}
	return writeLists(c, next, listOf("operations", list, true))
}

func (s *Server) getOperation(c echo.Context) error {
	o, err := s.config.Tenants.Operation(param(c, "operation"))
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, o)
}
