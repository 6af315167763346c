package server

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// authMember is the member of an action context that says who calls, by Genkit's convention.
const authMember = "auth"

// withAuth tells what the request runs who calls, where the server asks: the action context
// {"auth": {"uid": SUBJECT}}. It is what a context provider of Genkit's flow server does.
func withAuth(ctx context.Context, c echo.Context) context.Context {
	if identityOf(c) == nil {
		return ctx
	}
	return action.WithContext(ctx, append(authOf(c), '}'))
}

// authOf is the beginning of the action context of a known caller, with its member "auth".
func authOf(c echo.Context) json.RawMessage {
	subject, err := rawjson.Encode(identityOf(c).Subject)
	if err != nil { // texts always encode
		subject = json.RawMessage(`""`)
	}
	return append(append([]byte(`{"`+authMember+`":{"uid":`), subject...), '}')
}

// withCallersContext puts in what the caller says of itself. Who calls is the server's to say, where
// it asks: "auth" is refused then, in any case of its letters, because guests may read names in any.
func withCallersContext(ctx context.Context, c echo.Context, raw json.RawMessage) (context.Context, error) {
	if raw[0] != '{' {
		return nil, status.Publicf(status.InvalidArgument, "body: \"context\" wants a JSON object")
	}
	if identityOf(c) == nil {
		return action.WithContext(ctx, raw), nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "body: \"context\" wants a JSON object")
	}
	for name := range members {
		if strings.EqualFold(name, authMember) {
			return nil, status.Publicf(status.InvalidArgument, "body: \"context\" has \"auth\", which says who calls: this server asks that itself. Say what you know of others under another name")
		}
	}
	all := authOf(c)
	if len(members) == 0 {
		return action.WithContext(ctx, append(all, '}')), nil
	}
	return action.WithContext(ctx, append(append(all, ','), raw[1:]...)), nil
}
