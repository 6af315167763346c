package server

import (
	"errors"
	"maps"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
)

const (
	idempotencyKey = "Idempotency-Key"
	replayedHeader = "Idempotency-Replayed"
	// sentAgain is the part of a description that says how a request can be sent again.
	sentAgain = "With an Idempotency-Key the request can be sent again: for 24 hours the same request of the same caller gets the same answer, with Idempotency-Replayed, " +
		"and another request under that key 422."
)

// repeatable returns the document's entry of a route that takes an Idempotency-Key, where the
// server can keep answers: among its tenants.
func (s *Server) repeatable(o operation, text string) operation {
	if s.config.Tenants == nil {
		return o
	}
	if o.text != "" {
		o.text += " "
	}
	o.text += text
	o.params = append([]string{"idempotencyKey"}, o.params...)
	o.failures = append([]int{http.StatusUnprocessableEntity}, o.failures...)
	return o
}

// replays has the document say of some answers that they may be those of an earlier request.
func replays(o operation, codes ...int) operation {
	responses := map[int]answerDoc{}
	maps.Copy(responses, o.responses)
	for _, code := range codes {
		a := responses[code]
		a.headers = append([]string{replayedHeader}, a.headers...)
		responses[code] = a
	}
	o.responses = responses
	return o
}

// once runs a request, or finds its answer where it carries an Idempotency-Key and was answered
// before. Owner is as in [admin.Once], and request says in texts what is asked for; run gets the
// hash of it, empty where the request carries no key.
func (s *Server) once(c echo.Context, owner string, request []string, run func(hash string) (admin.Answer, error)) (a admin.Answer, replayed bool, err error) {
	values := c.Request().Header.Values(idempotencyKey)
	if len(values) == 0 || s.config.Tenants == nil {
		a, err = run("")
		return a, false, err
	}
	if len(values) > 1 {
		return a, false, status.Publicf(status.InvalidArgument, "Idempotency-Key: it is given twice")
	}
	o := admin.Once{Key: values[0], Owner: owner, Request: admin.Hash(request...)}
	if identity := identityOf(c); identity != nil {
		o.Caller = identity.Subject
	}
	a, replayed, err = s.config.Tenants.Once(c.Request().Context(), o, func() (admin.Answer, error) {
		return run(admin.Hash(o.Caller, o.Key, o.Request))
	})
	if errors.Is(err, admin.ErrKeyReused) {
		err = withHTTP(http.StatusUnprocessableEntity, err)
	}
	return a, replayed, err
}

// writeAnswer sends an answer that may be that of an earlier request.
func writeAnswer(c echo.Context, a admin.Answer, replayed bool) error {
	h := c.Response().Header()
	for name, value := range map[string]string{"Location": a.Location, "ETag": a.ETag} {
		if value != "" {
			h.Set(name, value)
		}
	}
	if replayed {
		h.Set(replayedHeader, "true")
	}
	return writeJSON(c, a.Status, a.Body)
}

// tokenGone is the answer to a request for a token that was answered before. The token was in
// that answer alone, and nothing that is stored has it.
func tokenGone(id string) error {
	return status.Publicf(status.AlreadyExists, "the request with this Idempotency-Key was answered before, and the token of the key %q was in that answer alone: "+
		"where the answer is lost, rotate the key under another Idempotency-Key", id).WithDetails(map[string]string{"key": id})
}

// onceToken is once for a request whose answer has a token: it is sent, and not kept. make gets
// the hash of the request, with which the key is marked, so that a crash before the answer is
// kept makes no second one.
func (s *Server) onceToken(c echo.Context, request []string, make func(hash string) (access.Key, string, error)) (made keyWithToken, err error) {
	a, replayed, err := s.once(c, "", request, func(hash string) (admin.Answer, error) {
		made.Key, made.Token, err = make(hash)
		if id, marked := access.MadeBefore(err); marked {
			return admin.Answer{ETag: id}, nil
		}
		return admin.Answer{ETag: made.Key.ID}, err
	})
	if err != nil {
		return keyWithToken{}, err
	}
	if replayed || made.Token == "" {
		return keyWithToken{}, tokenGone(a.ETag)
	}
	return made, nil
}

type keyWithToken struct {
	Token string     `json:"token"`
	Key   access.Key `json:"key"`
}
