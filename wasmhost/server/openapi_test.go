package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

type object = map[string]any

func openAPI(t *testing.T, w *world) object {
	t.Helper()
	r := w.do(http.MethodGet, "/openapi.json", nil)
	require.Equal(t, http.StatusOK, r.status)
	assert.Equal(t, "application/json", r.header.Get("Content-Type"))
	var doc object
	require.NoError(t, json.Unmarshal([]byte(r.body), &doc))
	return doc
}

// operations calls fn for each operation of the document.
func operations(t *testing.T, doc object, fn func(method, path string, op object)) {
	t.Helper()
	for path, item := range doc["paths"].(object) {
		for method, op := range item.(object) {
			fn(strings.ToUpper(method), path, op.(object))
		}
	}
}

func TestOpenAPIListsEachRouteAndOnlyThose(t *testing.T) {
	w := newWorld(t, nil)
	routes, ok := w.Config.Handler.(*echo.Echo)
	require.True(t, ok)
	var routed, documented []string
	for _, r := range routes.Routes() {
		if r.Method == http.MethodHead {
			continue // goes with each GET; the document need not say so
		}
		path := regexp.MustCompile(`:(\w+)`).ReplaceAllString(r.Path, "{$1}")
		path = strings.Replace(strings.Replace(path, "tools/*", "tools/{tool}", 1), "flows/*", "flows/{flow}", 1)
		path = strings.Replace(path, "actions/*", "actions/{action}", 1)
		routed = append(routed, r.Method+" "+path)
	}
	operations(t, openAPI(t, w), func(method, path string, _ object) { documented = append(documented, method+" "+path) })
	slices.Sort(routed)
	slices.Sort(documented)
	assert.Equal(t, routed, documented)
}

func TestOpenAPIPathsAreAnswered(t *testing.T) {
	w := newWorld(t, nil)
	operations(t, openAPI(t, w), func(method, path string, _ object) {
		concrete := regexp.MustCompile(`\{\w+\}`).ReplaceAllString(strings.Replace(path, "{tenant}", "default", 1), "x")
		r := w.do(method, concrete, nil)
		assert.NotEqual(t, http.StatusMethodNotAllowed, r.status, "%s %s", method, path)
		assert.NotContains(t, r.body, "nothing at this path", "%s %s", method, path)
	})
}

func TestOpenAPIStructure(t *testing.T) {
	w := newWorld(t, nil)
	doc := openAPI(t, w)
	assert.Equal(t, "3.1.0", doc["openapi"])
	for _, member := range []string{"title", "version"} {
		assert.NotEmpty(t, doc["info"].(object)[member])
	}
	tags := map[string]bool{}
	for _, tag := range doc["tags"].([]any) {
		tags[tag.(object)["name"].(string)] = true
	}
	ids := map[string]bool{}
	operations(t, doc, func(method, path string, op object) {
		at := method + " " + path
		id, _ := op["operationId"].(string)
		assert.NotEmpty(t, id, at)
		assert.False(t, ids[id], "operationId %q is given twice", id)
		ids[id] = true
		assert.NotEmpty(t, op["summary"], at)
		for _, tag := range op["tags"].([]any) {
			assert.True(t, tags[tag.(string)], "%s: tag %v", at, tag)
		}
		checkParameters(t, doc, at, path, op)
		checkResponses(t, doc, at, op)
		if body, ok := op["requestBody"].(object); ok {
			for kind, media := range body["content"].(object) {
				assert.Contains(t, kind, "/", at)
				checkSchema(t, doc, at+" request", media.(object)["schema"])
			}
		} else {
			assert.NotContains(t, []string{"PUT"}, method, at)
		}
	})
	checkRefs(t, doc, doc, "#")
	for name, s := range doc["components"].(object)["schemas"].(object) {
		checkSchema(t, doc, name, s)
	}
	assertAllUsed(t, doc)
}

func checkParameters(t *testing.T, doc object, at, path string, op object) {
	t.Helper()
	var inPath []string
	list, _ := op["parameters"].([]any)
	for _, p := range list {
		param := deref(t, doc, p)
		assert.NotEmpty(t, param["description"], at)
		assert.NotNil(t, param["schema"], at)
		if param["in"] == "path" {
			assert.Equal(t, true, param["required"], at)
			inPath = append(inPath, "{"+param["name"].(string)+"}")
		}
	}
	assert.ElementsMatch(t, regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1), inPath, at)
}

func checkResponses(t *testing.T, doc object, at string, op object) {
	t.Helper()
	good := 0
	for code, r := range op["responses"].(object) {
		response := deref(t, doc, r)
		assert.NotEmpty(t, response["description"], "%s %s", at, code)
		assert.Contains(t, response["headers"], "X-Request-Id", "%s %s", at, code)
		if code[0] == '2' {
			good++
		}
		if code == "204" || code == "304" || code == "202" && op["operationId"] == "mcp" {
			continue // it has no body
		}
		content, _ := response["content"].(object)
		require.NotEmpty(t, content, "%s %s", at, code)
		for _, media := range content {
			checkSchema(t, doc, at+" "+code, media.(object)["schema"])
		}
	}
	assert.Positive(t, good, at)
	assert.Contains(t, op["responses"], "500", at)
}

// checkSchema compiles a schema with the document's components as its definitions.
func checkSchema(t *testing.T, doc object, at string, s any) {
	t.Helper()
	raw, err := json.Marshal(object{"$defs": doc["components"].(object)["schemas"], "allOf": []any{s}})
	require.NoError(t, err)
	text := strings.ReplaceAll(string(raw), "#/components/schemas/", "#/$defs/")
	_, err = schema.Compile(json.RawMessage(text))
	assert.NoError(t, err, at)
}

func deref(t *testing.T, doc object, v any) object {
	t.Helper()
	o := v.(object)
	target, ok := o["$ref"].(string)
	if !ok {
		return o
	}
	var at any = doc
	for segment := range strings.SplitSeq(strings.TrimPrefix(target, "#/"), "/") {
		m, isObject := at.(object)
		require.True(t, isObject, target)
		at = m[segment]
	}
	require.NotNil(t, at, "%s leads nowhere", target)
	return at.(object)
}

func checkRefs(t *testing.T, doc object, v any, at string) {
	t.Helper()
	switch v := v.(type) {
	case object:
		if _, ok := v["$ref"].(string); ok {
			deref(t, doc, v)
		}
		for name, member := range v {
			checkRefs(t, doc, member, at+"/"+name)
		}
	case []any:
		for i, member := range v {
			checkRefs(t, doc, member, fmt.Sprint(at, "/", i))
		}
	}
}

// assertAllUsed wants each component to be referred to.
func assertAllUsed(t *testing.T, doc object) {
	t.Helper()
	raw, err := json.Marshal(doc)
	require.NoError(t, err)
	for _, kind := range []string{"schemas", "parameters", "headers"} {
		for name := range doc["components"].(object)[kind].(object) {
			assert.Contains(t, string(raw), fmt.Sprintf("%q", "#/components/"+kind+"/"+name))
		}
	}
}

// TestAnswersMatchTheDocument checks answers, good and bad, against the schemas
// that the document gives for them.
func TestAnswersMatchTheDocument(t *testing.T) {
	w := withConformance(t)
	for name, test := range map[string]struct {
		reply             reply
		path, method      string
		status, mediaType string
	}{
		"a record":           {w.do("GET", tenant+"/modules/calc", nil), "/v1/tenants/{tenant}/modules/{name}", "get", "200", "application/json"},
		"a list":             {w.do("GET", tenant+"/modules", nil), "/v1/tenants/{tenant}/modules", "get", "200", "application/json"},
		"revisions":          {w.do("GET", tenant+"/modules/calc/versions", nil), "/v1/tenants/{tenant}/modules/{name}/versions", "get", "200", "application/json"},
		"actions":            {w.do("GET", tenant+"/actions", nil), "/v1/tenants/{tenant}/actions", "get", "200", "application/json"},
		"a result":           {w.post("/tools/add", `{"input":{"a":1,"b":2}}`), "/v1/tenants/{tenant}/tools/{tool}", "post", "200", "application/json"},
		"an interrupt":       {w.post("/tools/native/asks", `{}`), "/v1/tenants/{tenant}/tools/{tool}", "post", "200", "application/json"},
		"a problem":          {w.post("/tools/add", `{}`), "/v1/tenants/{tenant}/tools/{tool}", "post", "400", "application/problem+json"},
		"a limit":            {w.post("/tools/native/busy", `{}`), "/v1/tenants/{tenant}/tools/{tool}", "post", "429", "application/problem+json"},
		"a flow's result":    {w.post("/flows/menu/suggest", `{}`), "/v1/tenants/{tenant}/flows/{flow}", "post", "200", "application/json"},
		"a flow's failure":   {w.post("/flows/breaks", `{}`), "/v1/tenants/{tenant}/flows/{flow}", "post", "404", "application/json"},
		"a refused upload":   {w.put("calc", []byte("x")), "/v1/tenants/{tenant}/modules/{name}", "put", "400", "application/problem+json"},
		"usage":              {w.do("GET", tenant+"/usage", nil), "/v1/tenants/{tenant}/usage", "get", "200", "application/json"},
		"readiness":          {w.do("GET", "/readyz", nil), "/readyz", "get", "200", "application/json"},
		"the document":       {w.do("GET", "/openapi.json", nil), "/openapi.json", "get", "200", "application/json"},
		"a missing revision": {w.post("/modules/calc/rollback", `{"revision":7}`), "/v1/tenants/{tenant}/modules/{name}/rollback", "post", "404", "application/problem+json"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.mediaType, test.reply.header.Get("Content-Type"))
			assertDocumented(t, w, test.reply, test.path, test.method, test.status)
		})
	}
}

// assertDocumented checks an answer against the schema that the document gives for it.
func assertDocumented(t *testing.T, w *world, r reply, path, method, status string) {
	t.Helper()
	doc := openAPI(t, w)
	require.Equal(t, status, fmt.Sprint(r.status), r.body)
	op := doc["paths"].(object)[path].(object)[method].(object)
	response := deref(t, doc, op["responses"].(object)[status])
	media, ok := response["content"].(object)[r.header.Get("Content-Type")].(object)
	require.True(t, ok)
	raw, err := json.Marshal(object{"$defs": doc["components"].(object)["schemas"], "allOf": []any{media["schema"]}})
	require.NoError(t, err)
	compiled, err := schema.Compile(json.RawMessage(strings.ReplaceAll(string(raw), "#/components/schemas/", "#/$defs/")))
	require.NoError(t, err)
	assert.NoError(t, compiled.Validate(json.RawMessage(strings.TrimSpace(r.body))), r.body)
}

// Links lead to operations of the document, and name parameters that these have.
func TestOpenAPILinksLeadSomewhere(t *testing.T) {
	doc := openAPI(t, newGuarded(t, nil).world)
	parameters := map[string][]string{}
	operations(t, doc, func(_, _ string, op object) {
		names := []string{}
		list, _ := op["parameters"].([]any)
		for _, p := range list {
			parameter := p.(object)
			if ref, ok := parameter["$ref"].(string); ok {
				parameter = doc["components"].(object)["parameters"].(object)[ref[strings.LastIndex(ref, "/")+1:]].(object)
			}
			names = append(names, parameter["name"].(string))
		}
		parameters[op["operationId"].(string)] = names
	})
	links := 0
	operations(t, doc, func(_, path string, op object) {
		for _, response := range op["responses"].(object) {
			list, _ := response.(object)["links"].(object)
			for name, link := range list {
				links++
				known, ok := parameters[link.(object)["operationId"].(string)]
				assert.True(t, ok, "%s: %s", path, name)
				for parameter := range link.(object)["parameters"].(object) {
					assert.Contains(t, known, parameter, "%s: %s", path, name)
				}
			}
		}
	})
	assert.Greater(t, links, 20)
}
