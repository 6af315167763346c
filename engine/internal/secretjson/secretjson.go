// Package secretjson removes fields that look like credentials from JSON.
//
// It owns the list of names that mean a secret (apiKey, authorization, password, …), in
// one place for all that records, returns or caches configs. Use:
//
//	shown, secrets := secretjson.Split(config)
//	whole, err := secretjson.Merge(changed, secrets)
//
// Everything here is safe for concurrent use; nothing changes its arguments.
package secretjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// maxDepth is how deep a config is searched. A deeper value counts as a secret:
// nobody has looked at it.
const maxDepth = 32

// endings are the endings of names that mean a secret, in lower case and without
// separators: "openai_api-key" is one, "maxTokens" is none.
var endings = []string{
	"apikey", "accesskey", "secretkey", "privatekey", "signingkey", "accesskeyid", "secretaccesskey",
	"accesstoken", "authtoken", "bearertoken", "refreshtoken", "sessiontoken", "securitytoken", "idtoken", "apitoken",
	"password", "passwd", "passphrase", "secret", "credential", "credentials", "authorization", "cookie",
}

// names are those that mean a secret only when nothing stands before them.
var names = []string{"token", "auth", "bearer"}

var separators = strings.NewReplacer("_", "", "-", "", ".", "", " ", "")

// IsName reports whether a field of that name holds a secret.
func IsName(name string) bool {
	name = separators.Replace(strings.ToLower(name))
	return slices.Contains(names, name) || slices.ContainsFunc(endings, func(end string) bool { return strings.HasSuffix(name, end) })
}

// Split returns config without its secrets and an object of the secrets at their
// places. An array that holds a secret goes as a whole. shown is config itself, and
// secrets nil, when there are none; shown is nil when nothing else is left.
func Split(config json.RawMessage) (shown, secrets json.RawMessage) {
	if !isKind(config, '{') {
		return config, nil
	}
	shown, secrets = split(config, 0)
	if string(shown) == "{}" && secrets != nil {
		shown = nil
	}
	return shown, secrets
}

func split(object json.RawMessage, depth int) (shown, secrets json.RawMessage) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil {
		return object, nil
	}
	taken := map[string]json.RawMessage{}
	for name, value := range fields {
		switch {
		case IsName(name), isKind(value, '[') && holds(value, depth+1), depth >= maxDepth && isKind(value, '{'):
			taken[name] = value
			delete(fields, name)
		case isKind(value, '{'):
			if rest, inner := split(value, depth+1); inner != nil {
				fields[name], taken[name] = rest, inner
			}
		}
	}
	if len(taken) == 0 {
		return object, nil
	}
	shown, errShown := rawjson.Encode(fields)
	secrets, errSecrets := rawjson.Encode(taken)
	if errShown != nil || errSecrets != nil { // values of decoded JSON always encode
		return nil, object
	}
	return shown, secrets
}

// holds reports whether an array holds a secret at any depth.
func holds(array json.RawMessage, depth int) bool {
	if depth > maxDepth {
		return true
	}
	var items []json.RawMessage
	if json.Unmarshal(array, &items) != nil {
		return false
	}
	return slices.ContainsFunc(items, func(item json.RawMessage) bool {
		if isKind(item, '[') {
			return holds(item, depth+1)
		}
		if !isKind(item, '{') {
			return false
		}
		_, secrets := split(item, depth+1)
		return secrets != nil
	})
}

// Merge returns config with secrets, as [Split] made them, at their places. Secrets that
// config holds itself are dropped first. It fails when config is neither an object nor
// nothing while there are secrets to put into it.
func Merge(config, secrets json.RawMessage) (json.RawMessage, error) {
	config, _ = Split(config)
	if len(secrets) == 0 {
		return config, nil
	}
	if len(config) == 0 || string(config) == "null" {
		return secrets, nil
	}
	if !isKind(config, '{') {
		return nil, errors.New("want an object")
	}
	return merge(config, secrets)
}

// merge puts the fields of over into those of base; objects are merged field by field.
func merge(base, over json.RawMessage) (json.RawMessage, error) {
	var fields, secrets map[string]json.RawMessage
	if err := json.Unmarshal(base, &fields); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(over, &secrets); err != nil {
		return nil, err
	}
	for name, secret := range secrets {
		if isKind(fields[name], '{') && isKind(secret, '{') {
			var err error
			if secret, err = merge(fields[name], secret); err != nil {
				return nil, err
			}
		}
		fields[name] = secret
	}
	return rawjson.Encode(fields)
}

// Hide returns a request, options of a generate call, or a response that holds its
// request, without the secrets in its configs: those of the fields config and options,
// of each middleware in use, and those in request and raw. body itself is returned when there are none.
func Hide(body json.RawMessage) json.RawMessage { return hide(body, 0) }

func hide(body json.RawMessage, depth int) json.RawMessage {
	if !isKind(body, '{') || !mayHoldConfig(body) || depth > maxDepth {
		return body
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return body
	}
	changed := false
	for name, value := range fields {
		var shown json.RawMessage
		switch name {
		case "config", "options":
			var secrets json.RawMessage
			if shown, secrets = Split(value); secrets == nil {
				shown = hide(value, depth+1) // the options of a generate call hold a config
			}
		case "request", "raw": // a response's, and the front matter of a prompt file
			shown = hide(value, depth+1)
		case "use":
			shown = hideEach(value, depth+1)
		default:
			continue
		}
		if bytes.Equal(shown, value) {
			continue
		}
		changed = true
		if fields[name] = shown; shown == nil {
			delete(fields, name)
		}
	}
	if !changed {
		return body
	}
	out, err := rawjson.Encode(fields)
	if err != nil { // values of decoded JSON always encode
		return nil
	}
	return out
}

func hideEach(list json.RawMessage, depth int) json.RawMessage {
	var items []json.RawMessage
	if json.Unmarshal(list, &items) != nil {
		return list
	}
	changed := false
	for i, item := range items {
		shown := hide(item, depth)
		changed = changed || !bytes.Equal(shown, item)
		items[i] = shown
	}
	if !changed {
		return list
	}
	out, err := rawjson.Encode(items)
	if err != nil {
		return nil
	}
	return out
}

// mayHoldConfig spares most bodies the decoding. An escape could hide a name.
func mayHoldConfig(body []byte) bool {
	return bytes.Contains(body, []byte(`"config"`)) || bytes.Contains(body, []byte(`"options"`)) || bytes.Contains(body, []byte(`\u00`))
}

func isKind(raw json.RawMessage, first byte) bool {
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == first
}
