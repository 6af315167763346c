package abi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Bounds of a descriptor.
const (
	MaxDescriptorBytes  = 256 << 10
	MaxTools            = 128 // and as many of each other list
	MaxDescriptionBytes = 4 << 10
)

// CleanSchema makes the text of a schema fit for models to read. Annotations
// (description, title, $comment) that hide something are cleaned; a name or a value
// that does is refused, because it can't be changed without changing what the schema
// means. raw is returned where there is nothing to do.
func CleanSchema(raw json.RawMessage) (json.RawMessage, error) {
	if !hides(raw) {
		return raw, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var out bytes.Buffer
	if err := rewrite(dec, &out, ""); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// hides reports whether any string of a JSON text hides something, written out or as
// an escape.
func hides(raw []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if err != nil {
			return false
		}
		if s, ok := token.(string); ok && Hides(strings.NewReplacer("\n", "", "\t", "").Replace(s)) {
			return true
		}
	}
}

// annotations are the members of a schema that are read and not obeyed.
var annotations = map[string]bool{"description": true, "title": true, "$comment": true}

// rewrite copies one value; name is the member that it belongs to.
func rewrite(dec *json.Decoder, out *bytes.Buffer, name string) error {
	token, err := dec.Token()
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	delim, ok := token.(json.Delim)
	if !ok {
		if s, text := token.(string); text {
			if !annotations[name] {
				if Hides(strings.NewReplacer("\n", "", "\t", "").Replace(s)) {
					return fmt.Errorf("schema: the value %q has characters that nobody sees", Line(s, 80))
				}
			} else {
				token = Clean(s, MaxDescriptionBytes)
			}
		}
		return write(out, token)
	}
	out.WriteRune(rune(delim))
	for first := true; dec.More(); first = false {
		if !first {
			out.WriteByte(',')
		}
		member := name
		if delim == '{' {
			key, err := dec.Token()
			if err != nil {
				return fmt.Errorf("schema: %w", err)
			}
			member, _ = key.(string)
			if Hides(member) {
				return fmt.Errorf("schema: the name %q has characters that nobody sees", Line(member, 80))
			}
			if err := write(out, member); err != nil {
				return err
			}
			out.WriteByte(':')
		}
		if err := rewrite(dec, out, member); err != nil {
			return err
		}
	}
	end, err := dec.Token()
	if err != nil && err != io.EOF {
		return fmt.Errorf("schema: %w", err)
	}
	if d, ok := end.(json.Delim); ok {
		out.WriteRune(rune(d))
	}
	return nil
}

func write(out *bytes.Buffer, value any) error {
	raw, err := rawjson.Encode(value)
	if err == nil {
		out.Write(raw)
	}
	return err
}
