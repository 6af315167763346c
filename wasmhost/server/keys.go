package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

const keysPath = "/v1/keys"

// accessTable has the routes of a server that asks who calls.
func (s *Server) accessTable() []route {
	if s.config.Auth == nil {
		return nil
	}
	table := []route{{http.MethodGet, "/v1/identity", signedIn, s.getIdentity, docGetIdentity}}
	if s.config.Keys == nil {
		return table
	}
	const keyPath = keysPath + "/:key"
	return append(table, []route{
		{http.MethodGet, keysPath, access.Admin, s.listKeys, docListKeys},
		{http.MethodPost, keysPath, access.Admin, s.createKey, s.repeatable(docCreateKey, tokenOnce)},
		{http.MethodGet, keyPath, access.Admin, s.getKey, docGetKey},
		{http.MethodDelete, keyPath, access.Admin, s.revokeKey, docRevokeKey},
		{http.MethodPost, keyPath + "/rotate", access.Admin, s.rotateKey, s.repeatable(docRotateKey, tokenOnce)},
	}...)
}

// tokenOnce says how a request can be sent again whose answer has a token.
const tokenOnce = "With an Idempotency-Key the request is carried out once within 24 hours: the same request of the same caller then gets 409, whose \"details\" have the \"key\", since the token was in the first answer alone, and another request under that key 422."

var (
	docGetIdentity = operation{
		id: "getIdentity", tag: "keys", summary: "See who asks",
		text:      "The identity behind the request's API key or token, as the server knows it.",
		responses: map[int]answerDoc{http.StatusOK: {text: "The identity.", content: jsonOf("Identity")}},
		failures:  []int{403},
	}
	docListKeys = operation{
		id: "listKeys", tag: "keys", summary: "List the API keys",
		text: "Those that have expired among them, oldest first. Their secrets can't be had.",
		list: "keys", params: []string{"limit", "cursor"},
		responses: map[int]answerDoc{http.StatusOK: {text: "Some keys; \"cursor\" is there when there are more.", content: jsonOf("KeyList"), links: links{"getKey": {"key": "$response.body#/keys/0/id"}}}},
		failures:  []int{400, 403},
	}
	docCreateKey = operation{
		id: "createKey", tag: "keys", summary: "Create an API key",
		text:    "The token is in this answer and nowhere else: what is stored is a hash of it.",
		request: jsonOf("NewKey"),
		responses: map[int]answerDoc{
			http.StatusCreated: {
				text: "The key, and its token.", content: jsonOf("KeyWithToken"), headers: []string{"ETag", "Location"},
				links: links{}.with(map[string]string{"key": "$response.body#/key/id"}, "getKey", "rotateKey", "revokeKey"),
			},
		},
		failures: []int{400, 403, 408, 409, 413, 415, 429, 503},
	}
	docGetKey = operation{
		id: "getKey", tag: "keys", summary: "Get an API key",
		params: []string{"ifNoneMatch"},
		responses: map[int]answerDoc{
			http.StatusOK:          {text: "The key, without its secret.", content: jsonOf("Key"), headers: []string{"ETag"}},
			http.StatusNotModified: {text: "It is the one that If-None-Match names.", headers: []string{"ETag"}},
		},
		failures: []int{403, 404},
	}
	docRevokeKey = operation{
		id: "revokeKey", ends: true, tag: "keys", summary: "Revoke an API key",
		text:      "At once: requests that run under it end with UNAUTHENTICATED, streams too. That holds also for a 503, after which the key has to be revoked once more to be gone for good.",
		params:    []string{"ifMatch"},
		responses: map[int]answerDoc{http.StatusNoContent: {text: "The key is gone."}},
		failures:  []int{403, 404, 412, 503},
	}
	docRotateKey = operation{
		id: "rotateKey", tag: "keys", summary: "Give an API key a new secret",
		text:      "The old secret works on for \"overlapSeconds\"; without them it ends at once, and requests that run under it do.",
		params:    []string{"ifMatch"},
		request:   jsonOf("Rotation"),
		optional:  true,
		responses: map[int]answerDoc{http.StatusOK: {text: "The key, and its new token.", content: jsonOf("KeyWithToken"), headers: []string{"ETag"}}},
		failures:  []int{400, 403, 404, 408, 409, 412, 413, 415, 503},
	}
)

// getIdentity answers {"subject", "name"?, "scopes"}.
func (s *Server) getIdentity(c echo.Context) error {
	identity := identityOf(c)
	return writeJSON(c, http.StatusOK, struct {
		Subject string        `json:"subject"`
		Name    string        `json:"name,omitempty"`
		Scopes  access.Scopes `json:"scopes"`
	}{identity.Subject, identity.Name, identity.Scopes})
}

func (s *Server) listKeys(c echo.Context) error {
	p, err := readPage(c, "keys", defaultPage)
	if err != nil {
		return err
	}
	keys, last := s.config.Keys.List(p.after, p.limit)
	return writeLists(c, p.next(last, last != ""), listOf("keys", keys, true))
}

func (s *Server) createKey(c echo.Context) error {
	m, err := s.adminBody(c, "name", "scopes", "expiresAt")
	if err != nil {
		return err
	}
	var spec access.KeySpec
	for name, into := range map[string]any{"name": &spec.Name, "scopes": &spec.Scopes} {
		if err := readMember(m, name, into); err != nil {
			return err
		}
	}
	if spec.ExpiresAt, err = readTime(m, "expiresAt"); err != nil {
		return err
	}
	canonical, err := rawjson.Encode(spec)
	if err != nil {
		return status.Errorf(status.Internal, "encode a request: %w", err)
	}
	made, err := s.onceToken(c, []string{http.MethodPost, keysPath, string(canonical)}, func(hash string) (access.Key, string, error) {
		spec.Request = hash
		return s.createScoped(c.Request().Context(), spec)
	})
	if err != nil {
		return err
	}
	c.Response().Header().Set("Location", keysPath+"/"+made.Key.ID)
	c.Response().Header().Set("ETag", etagOf(made.Key.Revision))
	return writeJSON(c, http.StatusCreated, made)
}

// createScoped makes a key for tenants that are not being deleted: a deletion takes its tenant's scopes away once, and a key
// that came after it would open the next tenant of the name.
func (s *Server) createScoped(ctx context.Context, spec access.KeySpec) (access.Key, string, error) {
	before, err := s.idsOf(spec.Scopes)
	if err != nil {
		return access.Key{}, "", err
	}
	key, token, err := s.config.Keys.Create(ctx, spec)
	if err != nil {
		return key, token, err
	}
	after, err := s.idsOf(spec.Scopes)
	for name, id := range before {
		if err == nil && id != "" && after[name] != id {
			err = status.Publicf(status.Aborted, "tenant %q was deleted meanwhile", name)
		}
	}
	if err != nil {
		return access.Key{}, "", errors.Join(err, s.config.Keys.Revoke(context.WithoutCancel(ctx), key.ID))
	}
	return key, token, nil
}

// idsOf returns the IDs of the tenants that scopes name, "" for one that is not there; ABORTED where one is being deleted.
func (s *Server) idsOf(scopes access.Scopes) (map[string]string, error) {
	ids := map[string]string{}
	for name := range scopes.Tenants {
		if s.config.Tenants == nil {
			break // they are the embedder's
		}
		id, err := s.config.Tenants.ID(name)
		if status.Of(err) == status.Aborted {
			return nil, err
		}
		ids[name] = id
	}
	return ids, nil
}

func (s *Server) getKey(c echo.Context) error {
	key, err := s.config.Keys.Get(param(c, "key"))
	if err != nil {
		return err
	}
	if unchanged(c, etagOf(key.Revision)) {
		return c.NoContent(http.StatusNotModified)
	}
	return writeJSON(c, http.StatusOK, key)
}

// holdsKey looks at a request's preconditions for a key. Until release is called no other request changes keys.
func (s *Server) holdsKey(c echo.Context) (release func(), err error) {
	s.keyChanges.Lock()
	key, err := s.config.Keys.Get(param(c, "key"))
	if err != nil {
		return s.keyChanges.Unlock, nil //nolint:nilerr // the change itself says so, after what else is wrong with it
	}
	if err := holds(c.Request().Header, etagOf(key.Revision)); err != nil {
		s.keyChanges.Unlock()
		return nil, err
	}
	return s.keyChanges.Unlock, nil
}

func (s *Server) revokeKey(c echo.Context) error {
	release, err := s.holdsKey(c)
	if err != nil {
		return err
	}
	defer release()
	if err := s.config.Keys.Revoke(c.Request().Context(), param(c, "key")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func (s *Server) rotateKey(c echo.Context) error {
	m, err := s.adminBody(c, "overlapSeconds", "expiresAt")
	if err != nil {
		return err
	}
	seconds := 0
	if raw, ok := m["overlapSeconds"]; ok {
		if seconds, ok = wholeNumber(raw); !ok {
			return status.Publicf(status.InvalidArgument, "body: \"overlapSeconds\" wants a whole number")
		}
	}
	expiresAt, err := readTime(m, "expiresAt")
	if err != nil {
		return err
	}
	id := param(c, "key")
	request := []string{http.MethodPost, keysPath, id, strconv.Itoa(seconds), expiresAt.UTC().Format(time.RFC3339Nano)}
	made, err := s.onceToken(c, request, func(hash string) (access.Key, string, error) {
		release, err := s.holdsKey(c)
		if err != nil {
			return access.Key{}, "", err
		}
		defer release()
		return s.config.Keys.RotateOnce(c.Request().Context(), id, time.Duration(seconds)*time.Second, expiresAt, hash)
	})
	if err != nil {
		return err
	}
	c.Response().Header().Set("ETag", etagOf(made.Key.Revision))
	return writeJSON(c, http.StatusOK, made)
}

// adminBody reads a body that is no tenant's, and so waits for no tenant's slot: an object
// that has no other members than those that are known.
func (s *Server) adminBody(c echo.Context, known ...string) (map[string]json.RawMessage, error) {
	body, err := s.readRaw(c)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return nil, nil
	}
	if err := schema.CheckUnique(body); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "body: %w", err)
	}
	m, err := members(body)
	if err != nil {
		return nil, err
	}
	return m, onlyMembers(m, known...)
}

// readMember reads a member that has to be there.
func readMember(m map[string]json.RawMessage, name string, into any) error {
	err := json.Unmarshal(m[name], into)
	if err == nil {
		return nil
	}
	if status.Convert(err).Public() {
		return err // it says what is wrong
	}
	return status.Publicf(status.InvalidArgument, "body: \"%s\" is missing or of the wrong type", name)
}

// readTime reads a member with a time of RFC 3339; the zero time where it is absent.
func readTime(m map[string]json.RawMessage, name string) (at time.Time, err error) {
	raw, ok := m[name]
	if !ok {
		return at, nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		at, ok = timeOf(text)
	}
	if text == "" || !ok || at.IsZero() {
		return at, status.Publicf(status.InvalidArgument, "body: \"%s\" wants a time such as \"2030-01-31T12:00:00Z\"", name)
	}
	return at, nil
}
