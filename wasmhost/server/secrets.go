package server

import (
	"errors"
	"net/http"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets"
)

// valueKind is a kind of values as a resource of a tenant: where it is, and the parameter of
// the path that holds a name.
type valueKind struct {
	kind        secrets.Kind
	path, param string
	member      string // of a list's answer
}

var (
	secretValues     = valueKind{kind: secrets.Secret, path: tenantPath + "/secrets", param: "secret", member: "secrets"}
	credentialValues = valueKind{kind: secrets.Credential, path: tenantPath + "/credentials", param: "provider", member: "credentials"}
)

// secretTable has the routes of a server that keeps secrets.
func (s *Server) secretTable() []route {
	if s.config.Secrets == nil {
		return nil
	}
	var table []route
	for _, v := range []struct {
		valueKind
		list, put, remove operation
	}{
		{secretValues, docListSecrets, docPutSecret, docDeleteSecret},
		{credentialValues, docListCredentials, docPutCredential, docDeleteCredential},
	} {
		one := v.path + "/:" + v.param
		table = append(
			table,
			route{http.MethodGet, v.path, access.Manage, s.listing(s.listValues(v.valueKind)), v.list},
			route{http.MethodPut, one, access.Manage, s.putValue(v.valueKind), v.put},
			route{http.MethodDelete, one, access.Manage, s.deleteValue(v.valueKind), v.remove},
		)
	}
	return table
}

const putValueText = "The value is in no answer, this one included. A name that is there gets the new value, which counts from the next call on. " +
	"400 where the server was started without a key that encrypts secrets."

var (
	docListSecrets = operation{
		id: "listSecrets", tag: "secrets", summary: "List the secrets of a tenant",
		text:      "Their names and the times of their last changes. Their values can't be had.",
		responses: map[int]answerDoc{http.StatusOK: {text: "All of them, by name.", content: jsonOf("SecretList")}},
		failures:  []int{403, 404, 429, 503},
	}
	docPutSecret = operation{
		id: "putSecret", tag: "secrets", summary: "Set a secret",
		text:    "Guests use it as {{secret:NAME}} in headers of their requests, where a policy grants it. " + putValueText,
		params:  []string{"ifMatch", "ifNoneMatch"},
		request: jsonOf("NewSecret"),
		responses: map[int]answerDoc{
			http.StatusOK:      {text: "What is told of the secret, which was there before.", content: jsonOf("StoredValue"), headers: []string{"ETag"}},
			http.StatusCreated: {text: "What is told of the secret, which was not there before.", content: jsonOf("StoredValue"), headers: []string{"ETag", "Location"}},
		},
		failures: []int{400, 403, 404, 408, 412, 413, 415, 429, 503},
	}
	docDeleteSecret = operation{
		id: "deleteSecret", tag: "secrets", summary: "Remove a secret",
		params:    []string{"ifMatch"},
		responses: map[int]answerDoc{http.StatusNoContent: {text: "The secret is gone."}},
		failures:  []int{400, 403, 404, 412, 503},
	}
	docListCredentials = operation{
		id: "listCredentials", tag: "secrets", summary: "List for which providers a tenant has an API key of its own",
		text:      "And to which URL each is sent. The keys can't be had.",
		responses: map[int]answerDoc{http.StatusOK: {text: "All of them, by the provider's name.", content: jsonOf("CredentialList")}},
		failures:  []int{403, 404, 429, 503},
	}
	docPutCredential = operation{
		id: "putCredential", tag: "secrets", summary: "Set a tenant's own API key for a provider of models",
		text: "It is used, in the place of the server's, for the generate calls of the tenant and of its guests. " + putValueText +
			" It is sent to the URL that the answer tells, and to no other: where the server is started with another one for the provider, it has to be set again.",
		params:  []string{"ifMatch", "ifNoneMatch"},
		request: jsonOf("NewCredential"),
		responses: map[int]answerDoc{
			http.StatusOK:      {text: "What is told of the key; there was one before.", content: jsonOf("StoredValue"), headers: []string{"ETag"}},
			http.StatusCreated: {text: "What is told of the key; there was none before.", content: jsonOf("StoredValue"), headers: []string{"ETag", "Location"}},
		},
		failures: []int{400, 403, 404, 408, 412, 413, 415, 429, 503},
	}
	docDeleteCredential = operation{
		id: "deleteCredential", tag: "secrets", summary: "Remove a tenant's own API key for a provider",
		text:      "Its calls use the server's key from then on, where the server has one.",
		params:    []string{"ifMatch"},
		responses: map[int]answerDoc{http.StatusNoContent: {text: "The key is gone."}},
		failures:  []int{400, 403, 404, 412, 503},
	}
)

func (s *Server) listValues(v valueKind) echo.HandlerFunc {
	return func(c echo.Context) error {
		entries, err := s.config.Secrets.List(c.Request().Context(), param(c, "tenant"), v.kind)
		if err != nil {
			return err
		}
		return writeLists(c, "", listOf(v.member, entries, true))
	}
}

// expectedValue returns the revision that a request's If-Match wants to find.
func (s *Server) expectedValue(c echo.Context, v valueKind) (string, error) {
	e, err := s.config.Secrets.Get(c.Request().Context(), param(c, "tenant"), v.kind, param(c, v.param))
	if errors.Is(err, status.ErrNotFound) && c.Request().Method == http.MethodPut {
		if len(c.Request().Header.Values("If-None-Match")) > 0 {
			return "-", holds(c.Request().Header, "")
		}
		return "", holds(c.Request().Header, "")
	}
	if err != nil {
		return "", err
	}
	return expected(c.Request().Header, e.Revision, false)
}

// maxValueBody bounds the body that sets a value, with room for escapes in each byte of it.
const maxValueBody = 6*secret.MaxBytes + 1<<10

func (s *Server) putValue(v valueKind) echo.HandlerFunc {
	return func(c echo.Context) error {
		// Errors that can be known before the body is read are sent before it is.
		if err := s.config.Secrets.CanStore(); err != nil {
			return err
		}
		revision, err := s.expectedValue(c, v)
		if err != nil {
			return err
		}
		value, err := s.readValue(c)
		if err != nil {
			return err
		}
		e, created, err := s.config.Secrets.Put(c.Request().Context(), param(c, "tenant"), v.kind, param(c, v.param), value, revision)
		if errors.Is(err, secrets.ErrStale) {
			return stale(err)
		}
		if err != nil {
			return err
		}
		h, code := c.Response().Header(), http.StatusOK
		h.Set("ETag", etagOf(e.Revision))
		if created {
			code = http.StatusCreated
			h.Set("Location", c.Request().URL.EscapedPath())
		}
		return writeJSON(c, code, e)
	}
}

// readValue reads {"value": "…"}. Its errors hold nothing of the body, not even the names of
// members: a value that is sent in another shape is still a secret.
func (s *Server) readValue(c echo.Context) (secret.Value, error) {
	body, err := s.readTyped(c, maxValueBody, "application/json")
	if err != nil {
		return secret.Value{}, err
	}
	var in struct {
		Value *string `json:"value"`
	}
	if !utf8.Valid(body) || schema.Decode(body, &in, schema.RefuseUnknown) != nil || in.Value == nil {
		return secret.Value{}, status.Publicf(status.InvalidArgument, "body: want {\"value\": \"…\"}, and nothing else")
	}
	return secret.New(*in.Value), nil
}

func (s *Server) deleteValue(v valueKind) echo.HandlerFunc {
	return func(c echo.Context) error {
		revision, err := s.expectedValue(c, v)
		if err != nil {
			return err
		}
		err = s.config.Secrets.Delete(c.Request().Context(), param(c, "tenant"), v.kind, param(c, v.param), revision)
		if errors.Is(err, secrets.ErrStale) {
			return stale(err)
		}
		if err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}
}
