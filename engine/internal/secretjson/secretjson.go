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

var separators = strings.NewReplacer("_", "", "-", "", ".", "", " ", "", "\u017f", "s") // the long s is an s to decoders

// IsName reports whether a field of that name holds a secret.
func IsName(name string) bool {
	name = normal(name)
	return slices.Contains(names, name) || slices.ContainsFunc(endings, func(end string) bool { return strings.HasSuffix(name, end) })
}

// normal is a name in lower case and without separators.
func normal(name string) string { return separators.Replace(strings.ToLower(name)) }

// Split returns config without its secrets and an object of the secrets at their
// places. A secret is a field whose name means one, or the value of a pair of the two:
// ["Authorization", "…"], {"name": "Authorization", "value": "…"}. An array that holds a
// secret goes as a whole. shown is config itself, and
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
	if named(fields) { // {"name": "Authorization", "value": …}
		for name, value := range fields {
			if isValue(name) {
				taken[name] = value
				delete(fields, name)
			}
		}
	}
	for name, value := range fields {
		switch {
		case IsName(name), isKind(value, '[') && (holds(value, depth+1, false) || isHeader(name) && holdsLine(value)), depth >= maxDepth && isKind(value, '{'):
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

// holds reports whether an array holds a secret at any depth. Only within another one may
// it be a pair itself: two words, of which the first means a secret, may be anything else.
func holds(array json.RawMessage, depth int, within bool) bool {
	if depth > maxDepth {
		return true
	}
	var items []json.RawMessage
	if json.Unmarshal(array, &items) != nil {
		return false
	}
	if within && len(items) == 2 && isSecretName(items[0]) { // ["Authorization", …]
		return true
	}
	return slices.ContainsFunc(items, func(item json.RawMessage) bool {
		if isKind(item, '[') {
			return holds(item, depth+1, true)
		}
		if !isKind(item, '{') {
			return false
		}
		_, secrets := split(item, depth+1)
		return secrets != nil
	})
}

// Names of the members of an object that stands for one field of another.
var (
	keyNames   = []string{"name", "key", "header", "field", "k", "n"}
	valueNames = []string{"value", "values", "val", "v", "content", "data"}
)

// named reports whether an object is a pair whose name means a secret.
func named(fields map[string]json.RawMessage) bool {
	for name, value := range fields {
		if slices.ContainsFunc(keyNames, func(key string) bool { return strings.EqualFold(key, name) }) && isSecretName(value) {
			return true
		}
	}
	return false
}

func isValue(name string) bool {
	return slices.ContainsFunc(valueNames, func(value string) bool { return strings.EqualFold(value, name) })
}

// isSecretName reports whether a value is the name of a secret.
func isSecretName(value json.RawMessage) bool {
	var name string
	return isKind(value, '"') && json.Unmarshal(value, &name) == nil && IsName(name)
}

// isHeader reports whether a field of that name holds headers of HTTP.
func isHeader(name string) bool {
	return strings.HasSuffix(strings.TrimSuffix(normal(name), "s"), "header")
}

// holdsLine reports whether headers that are a list of strings, each a line or names and
// values in turn, hold a secret.
func holdsLine(list json.RawMessage) bool {
	var items []json.RawMessage
	if json.Unmarshal(list, &items) != nil {
		return false
	}
	for _, item := range items {
		var line string
		if !isKind(item, '"') || json.Unmarshal(item, &line) != nil {
			continue
		}
		if name, _, _ := strings.Cut(line, ":"); IsName(strings.TrimSpace(name)) {
			return true
		}
	}
	return false
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
// of each middleware in use, and those in request and raw. The case of these names does
// not matter: a field that no decoder takes for a config is recorded like one. body itself is
// returned when there are none.
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
		shown, hidden := hideField(name, value, depth)
		if !hidden {
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

// HideField is [Hide] for one field of a body. hidden is false when it holds no secret, and
// shown nil when nothing is left.
func HideField(name string, value json.RawMessage) (shown json.RawMessage, hidden bool) {
	return hideField(name, value, 0)
}

func hideField(name string, value json.RawMessage, depth int) (shown json.RawMessage, hidden bool) {
	switch strings.ToLower(name) {
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
		return value, false
	}
	return shown, !bytes.Equal(shown, value)
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

// mayHoldConfig spares most bodies the decoding: they hold no string of such a name, in any
// case. An escape could hide one.
func mayHoldConfig(body []byte) bool {
	for rest := body; ; {
		quote := bytes.IndexByte(rest, '"')
		if quote < 0 {
			return bytes.Contains(body, []byte(`\u00`))
		}
		rest = rest[quote+1:]
		if len(rest) == 0 {
			continue
		}
		switch rest[0] | 0x20 {
		case 'c':
			if begins(rest, `config"`) {
				return true
			}
		case 'o':
			if begins(rest, `options"`) {
				return true
			}
		}
	}
}

func begins(rest []byte, name string) bool {
	return len(rest) >= len(name) && strings.EqualFold(string(rest[:len(name)]), name)
}

func isKind(raw json.RawMessage, first byte) bool {
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == first
}
