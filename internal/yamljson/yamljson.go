// Package yamljson reads files that people write in YAML, as JSON: a server's settings, the cases of a tool. Of YAML it
// takes what JSON can say, so aliases, anchors and numbers that JSON lacks are refused, and numbers keep their digits.
//
//	top, err := yamljson.Read(raw)        // nil for a file with nothing but comments
//	text, err := yamljson.JSON(top, nil)
package yamljson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxDepth bounds lists and mappings in one another.
const maxDepth = 32

// Read reads the one document of a file; nil, and no error, where it holds nothing but comments.
func Read(raw []byte) (top *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil { // the library panics on some damaged documents
			top, err = nil, errors.New("not YAML")
		}
	}()
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF): // nothing but comments
		return nil, nil //nolint:nilnil // the comment says so
	case err != nil:
		return nil, fmt.Errorf("not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if dec.Decode(&yaml.Node{}) == nil {
		return nil, errors.New("more than one document")
	}
	return doc.Content[0], nil
}

// JSON writes a node as JSON. expand, where it is not nil, is called for each text and returns the one in its place. A name
// that stands twice in a mapping stands twice in the JSON, whose reader has to refuse it.
func JSON(node *yaml.Node, expand func(string) (string, error)) (json.RawMessage, error) {
	if expand == nil {
		expand = func(text string) (string, error) { return text, nil }
	}
	w := writer{expand: expand}
	if err := w.node(node, 0); err != nil {
		return nil, err
	}
	return w.Bytes(), nil
}

// writer is the JSON that has been written so far.
type writer struct {
	bytes.Buffer
	expand func(string) (string, error)
}

func (w *writer) node(node *yaml.Node, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("more than %d levels", maxDepth)
	}
	switch node.Kind {
	case yaml.ScalarNode:
		return w.scalar(node)
	case yaml.SequenceNode:
		w.WriteByte('[')
		for i, n := range node.Content {
			if i > 0 {
				w.WriteByte(',')
			}
			if err := w.node(n, depth+1); err != nil {
				return err
			}
		}
		w.WriteByte(']')
		return nil
	case yaml.MappingNode:
		w.WriteByte('{')
		for i := 0; i+1 < len(node.Content); i += 2 {
			if i > 0 {
				w.WriteByte(',')
			}
			if err := w.text(node.Content[i].Value); err != nil {
				return err
			}
			w.WriteByte(':')
			if err := w.node(node.Content[i+1], depth+1); err != nil {
				return err
			}
		}
		w.WriteByte('}')
		return nil
	}
	return fmt.Errorf("line %d: aliases and anchors are not read", node.Line)
}

func (w *writer) scalar(node *yaml.Node) error {
	switch node.Tag {
	case "!!int", "!!float":
		if !json.Valid([]byte(node.Value)) {
			return fmt.Errorf("line %d: %q is no number of JSON", node.Line, node.Value)
		}
		w.WriteString(node.Value)
		return nil
	case "!!bool":
		w.WriteString(strings.ToLower(node.Value))
		return nil
	case "!!null":
		w.WriteString("null")
		return nil
	}
	text, err := w.expand(node.Value)
	if err != nil {
		return err
	}
	return w.text(text)
}

func (w *writer) text(text string) error {
	raw, err := json.Marshal(text)
	w.Write(raw)
	return err
}
