package script

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// manifest holds the fields of a package.json that resolution needs; a field that is not of its form counts as absent.
type manifest struct {
	name, genkit, main, module string

	exports, imports *node
	browser          map[string]string // from a name or "./file" to what takes its place; "" for an empty module
	pure             bool              // "sideEffects": false
}

// node is a JSON value whose object keeps the order of its members, which decides between conditions.
type node struct {
	kind    json.Delim // '{', '[', or 0 for a text; 'n' for null, 'x' for anything else
	text    string
	members []member // of an object; of a list without names
}

type member struct {
	name  string
	value *node
}

// Bounds of a package.json.
const (
	maxManifestBytes = 1 << 20
	maxManifestDepth = 32
)

// readManifest reads a package.json.
func readManifest(raw []byte) (*manifest, error) {
	if len(raw) > maxManifestBytes {
		return nil, fmt.Errorf("it is longer than %d bytes", maxManifestBytes)
	}
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))))
	n, err := readNode(d, maxManifestDepth)
	if err != nil {
		return nil, err
	}
	if n.kind != '{' {
		return nil, errors.New("it is no object")
	}
	m := &manifest{
		name: n.get("name").string(), genkit: n.get("genkit").string(), main: n.get("main").string(), module: n.get("module").string(),
		exports: n.get("exports"), imports: n.get("imports"),
	}
	if effects := n.get("sideEffects"); effects != nil {
		m.pure = effects.kind == 'x' && effects.text == "false"
	}
	switch b := n.get("browser"); {
	case b == nil:
	case b.kind == 0: // it takes the place of main
		m.module, m.main = b.text, b.text
	case b.kind == '{':
		m.browser = make(map[string]string, len(b.members))
		for _, of := range b.members {
			if of.value.kind == 0 {
				m.browser[of.name] = of.value.text
			} else if of.value.text == "false" {
				m.browser[of.name] = ""
			}
		}
	}
	return m, nil
}

func readNode(d *json.Decoder, depth int) (*node, error) {
	if depth == 0 {
		return nil, fmt.Errorf("it is nested more than %d deep", maxManifestDepth)
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case string:
		return &node{text: v}, nil
	case nil:
		return &node{kind: 'n'}, nil
	case json.Delim:
		n, places := &node{kind: v}, map[string]int{}
		for d.More() {
			name := ""
			if v == '{' {
				key, err := d.Token()
				if err != nil {
					return nil, err
				}
				name, _ = key.(string) // the decoder has checked that
			}
			value, err := readNode(d, depth-1)
			if err != nil {
				return nil, err
			}
			if at, twice := places[name]; twice && v == '{' {
				n.members[at].value = value
				continue
			}
			places[name] = len(n.members)
			n.members = append(n.members, member{name, value})
		}
		_, err := d.Token() // the end
		return n, err
	}
	return &node{kind: 'x', text: fmt.Sprint(token)}, nil
}

// get returns a member of an object, nil where there is none.
func (n *node) get(name string) *node {
	if n == nil || n.kind != '{' {
		return nil
	}
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// string is the text of a text, "" of anything else.
func (n *node) string() string {
	if n == nil || n.kind != 0 {
		return ""
	}
	return n.text
}

// errBlocked is the answer of exports and imports that don't have a name, or say null for it.
var errBlocked = errors.New("not exported")

// lookup finds a name in the exports ("." and "./…") or imports ("#…") of a package, as Node does: an exact name, else the
// pattern with the longest part before its "*". conditions are those that hold.
func lookup(table *node, name string, conditions []string) (string, error) {
	if table.kind != '{' || !slices.ContainsFunc(table.members, func(m member) bool { return strings.HasPrefix(m.name, ".") || strings.HasPrefix(m.name, "#") }) {
		if name != "." {
			return "", errBlocked
		}
		return target(table, "", conditions)
	}
	if exact := table.get(name); exact != nil && !strings.Contains(name, "*") {
		return target(exact, "", conditions)
	}
	best, star := -1, ""
	for i, m := range table.members {
		before, after, pattern := strings.Cut(m.name, "*")
		if !pattern || len(name) < len(m.name) || !strings.HasPrefix(name, before) || !strings.HasSuffix(name, after) {
			continue
		}
		if best < 0 || len(before) > strings.IndexByte(table.members[best].name, '*') {
			best, star = i, name[len(before):len(name)-len(after)]
		}
	}
	if best < 0 {
		return "", errBlocked
	}
	return target(table.members[best].value, star, conditions)
}

// target chooses what a name of exports or imports stands for.
func target(n *node, star string, conditions []string) (string, error) {
	switch n.kind {
	case 0:
		return strings.ReplaceAll(n.text, "*", star), nil
	case '{':
		for _, m := range n.members {
			if m.name != "default" && !slices.Contains(conditions, m.name) {
				continue
			}
			found, err := target(m.value, star, conditions)
			if err == nil || m.value.kind == 'n' {
				return found, err
			}
		}
	case '[':
		for _, m := range n.members {
			if found, err := target(m.value, star, conditions); err == nil {
				return found, nil
			}
		}
	}
	return "", errBlocked
}

// inside joins what a package.json names with its directory; false for what would lead out of that or into other packages.
func inside(directory, name string) (string, bool) {
	for part := range strings.SplitSeq(strings.TrimPrefix(name, "./"), "/") {
		if part == "" || part == "." || part == ".." || part == "node_modules" || strings.Contains(part, `\`) {
			return "", false
		}
	}
	return path.Join(directory, name), true
}
