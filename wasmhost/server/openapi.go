package server

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// schemas.json holds the document's components: schemas, parameters and the
// responses that several routes share.
//
//go:embed schemas.json
var components []byte

// schemas_tenants.json holds those that only a server has whose tenants are resources.
//
//go:embed schemas_tenants.json
var tenantComponents []byte

// schemas_secrets.json holds those that only a server has that keeps secrets.
//
//go:embed schemas_secrets.json
var secretComponents []byte

// schemas_access.json holds those that only a server has that asks who calls.
//
//go:embed schemas_access.json
var accessComponents []byte

// schemas_audit.json holds those that only a server has that keeps an audit log.
//
//go:embed schemas_audit.json
var auditComponents []byte

// schemas_usage.json holds those that only a server has that keeps accounts of its usage.
//
//go:embed schemas_usage.json
var usageComponents []byte

// apiVersion is the version of the HTTP API, which the paths carry as /v1.
const apiVersion = "1.0.0"

// document writes the OpenAPI 3.1 document of a table of routes; secured is whether the
// server asks who calls, logged whether it keeps an audit log, and more are the components that not every server has.
func document(table []route, secured, logged bool, more ...[]byte) ([]byte, error) {
	var parts map[string]any
	if err := json.Unmarshal(components, &parts); err != nil {
		return nil, status.Errorf(status.Internal, "openapi components: %w", err)
	}
	paths := map[string]map[string]any{}
	for _, raw := range more {
		if err := addComponents(parts, raw); err != nil {
			return nil, err
		}
	}
	addPatch(parts)
	if secured {
		if err := addComponents(parts, accessComponents); err != nil {
			return nil, err
		}
		parts["securitySchemes"] = map[string]any{bearerScheme: map[string]any{
			"type": "http", "scheme": "bearer",
			"description": "An API key, or a token of an issuer that the server trusts. The roles of an operation are the scope that it takes: \"admin\", or, of the tenant in the path, \"manage\", \"invoke\" or \"read\". Each includes those after it.",
		}}
	}
	served := map[string]bool{}
	for _, r := range table {
		served[r.doc.id] = true
	}
	for _, r := range table {
		path, params := openAPIPath(r.path)
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		object := r.doc.object(params, served)
		if secured {
			secure(object, r)
		}
		if logged && audited(r) {
			responses, _ := object["responses"].(map[string]any)
			responses[strconv.Itoa(http.StatusServiceUnavailable)] = r.doc.failure(http.StatusServiceUnavailable)
		}
		paths[path][strings.ToLower(r.method)] = object
	}
	raw, err := json.MarshalIndent(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "genkit-wasm", "version": apiVersion,
			"description": "Upload WebAssembly tools, run them, and generate with them. Every failure is an RFC 9457 problem, but those of flows, which have Genkit's shape.",
			"license":     map[string]any{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":           []any{map[string]any{"url": "/"}},
		"security":          []any{},
		"tags":              tags,
		"jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
		"paths":             paths,
		"components":        parts,
	}, "", "  ")
	if err != nil {
		return nil, status.Errorf(status.Internal, "openapi document: %w", err)
	}
	return append(raw, '\n'), nil
}

// addComponents adds the components that some servers alone have.
func addComponents(parts map[string]any, raw []byte) error {
	var more map[string]map[string]any
	if err := json.Unmarshal(raw, &more); err != nil {
		return status.Errorf(status.Internal, "openapi components: %w", err)
	}
	for kind, entries := range more {
		all, _ := parts[kind].(map[string]any)
		for name, entry := range entries {
			if old, there := all[name]; there && !reflect.DeepEqual(old, entry) {
				return status.Errorf(status.Internal, "openapi components: two that differ are called %s/%s", kind, name)
			}
		}
		maps.Copy(all, entries)
	}
	return nil
}

// addPatch adds the schema of a merge patch of a tenant: what a new tenant may have but its
// name, where null removes a member.
func addPatch(parts map[string]any) {
	schemas, _ := parts["schemas"].(map[string]any)
	if schemas["NewTenant"] == nil {
		return
	}
	patch, _ := patchOf(schemas, schemas["NewTenant"]).(map[string]any)
	properties, _ := patch["properties"].(map[string]any)
	delete(properties, "name")
	patch["type"] = "object"
	patch["description"] = "A merge patch of a tenant's settings."
	schemas["TenantPatch"] = patch
}

// patchOf returns the schema of what changes a value of a schema: null, or members of an
// object, each of which may be null. An array is replaced as a whole.
func patchOf(schemas map[string]any, of any) any {
	schema, _ := of.(map[string]any)
	if name, ok := schema["$ref"].(string); ok {
		return patchOf(schemas, schemas[strings.TrimPrefix(name, "#/components/schemas/")])
	}
	patch := maps.Clone(schema)
	delete(patch, "required")
	if kind, ok := schema["type"].(string); ok {
		patch["type"] = []any{kind, "null"}
	}
	if all, ok := schema["properties"].(map[string]any); ok {
		properties := map[string]any{}
		for name, s := range all {
			properties[name] = patchOf(schemas, s)
		}
		patch["properties"] = properties
	}
	if others, ok := schema["additionalProperties"].(map[string]any); ok {
		patch["additionalProperties"] = patchOf(schemas, others)
	}
	return patch
}

const bearerScheme = "bearer"

// secure adds to an operation the scope that it takes, and the answers to callers without
// it.
func secure(object map[string]any, r route) {
	if r.scope == open {
		object["security"] = []any{}
		return
	}
	roles := []string{}
	if r.scope != signedIn {
		roles = append(roles, string(r.scope))
	}
	object["security"] = []any{map[string]any{bearerScheme: roles}}
	responses, _ := object["responses"].(map[string]any)
	for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		responses[strconv.Itoa(code)] = r.doc.failure(code)
	}
}

var tags = []any{
	map[string]any{"name": "modules", "description": "Upload, list, roll back and remove modules."},
	map[string]any{"name": "actions", "description": "List and run what a tenant has."},
	map[string]any{"name": "openai", "description": "The same for clients of OpenAI's API."},
	map[string]any{"name": "tenants", "description": "Create, change, suspend, repair and delete tenants."},
	map[string]any{"name": "secrets", "description": "What a tenant's guests and models use, and nobody is shown."},
	map[string]any{"name": "keys", "description": "API keys, and who asks."},
	map[string]any{"name": "server", "description": "The server itself."},
}

// openAPIPath turns Echo's ":name" and "*" into "{name}" and returns the names. A
// "*" is named after the segment before it.
func openAPIPath(path string) (string, []string) {
	segments := strings.Split(path, "/")
	var params []string
	for i, s := range segments {
		name, isParam := strings.CutPrefix(s, ":")
		if s == "*" {
			name, isParam = strings.TrimSuffix(segments[i-1], "s"), true
		}
		if isParam {
			params = append(params, name)
			segments[i] = "{" + name + "}"
		}
	}
	return strings.Join(segments, "/"), params
}

func (o operation) object(pathParams []string, served map[string]bool) map[string]any {
	responses := map[string]any{}
	for code, a := range o.responses {
		responses[strconv.Itoa(code)] = a.object(served)
	}
	for _, code := range append([]int{http.StatusInternalServerError}, o.failures...) {
		responses[strconv.Itoa(code)] = o.failure(code)
	}
	object := map[string]any{"operationId": o.id, "summary": o.summary, "tags": []string{o.tag}, "responses": responses}
	if o.text != "" {
		object["description"] = o.text
	}
	if list := append(slices.Clip(pathParams), o.params...); len(list) > 0 {
		refs := make([]any, len(list))
		for i, name := range list {
			refs[i] = map[string]any{"$ref": "#/components/parameters/" + name}
			if name == "cursor" {
				refs[i] = cursorParameter(o.list)
			}
		}
		object["parameters"] = refs
	}
	if o.request != nil {
		object["requestBody"] = map[string]any{"required": !o.optional, "content": contentOf(o.request)}
	}
	return object
}

// cursorParameter is the parameter of a list's cursor. Its pattern is exact, so that
// readers of the document know which texts are refused; what comes after the dot is still for
// nobody to read.
func cursorParameter(list string) any {
	return map[string]any{
		"name": "cursor", "in": "query",
		"description": "Where the list goes on: the \"cursor\" of the page before, as it was given.",
		"schema":      map[string]any{"type": "string", "maxLength": maxCursor, "pattern": cursorPattern(list)},
	}
}

// failure is the response of a status that carries a problem.
func (o operation) failure(code int) any {
	shape := "Problem"
	if o.plain {
		shape = "FlowError"
	}
	return map[string]any{"$ref": fmt.Sprintf("#/components/responses/%s%d", shape, code)}
}

func (a answerDoc) object(served map[string]bool) map[string]any {
	object := map[string]any{"description": a.text}
	if following := a.links.object(served); len(following) > 0 {
		object["links"] = following
	}
	headers := map[string]any{}
	for _, name := range append([]string{requestIDHeader}, a.headers...) {
		headers[name] = map[string]any{"$ref": "#/components/headers/" + name}
	}
	object["headers"] = headers
	if a.content != nil {
		object["content"] = contentOf(a.content)
	}
	return object
}

// uploadEncoding says what the parts of the form of an upload are.
var uploadEncoding = map[string]any{
	"module":     map[string]any{"contentType": "application/wasm"},
	"descriptor": map[string]any{"contentType": "application/json"},
	"policy":     map[string]any{"contentType": "application/json"},
}

func contentOf(schemas map[string]any) map[string]any {
	content := map[string]any{}
	for mediaType, schema := range maps.All(schemas) {
		content[mediaType] = map[string]any{"schema": schema}
		if mediaType == formType {
			content[mediaType] = map[string]any{"schema": schema, "encoding": uploadEncoding}
		}
	}
	return content
}
