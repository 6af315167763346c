package script

import (
	"bytes"
	"encoding/json"
	"path"
	"slices"
	"strings"
)

// aliases are what a tsconfig.json says of imports that are neither relative nor packages': "paths" and "baseUrl".
type aliases struct {
	base  string   // the directory of baseUrl; "" where there is none
	from  string   // the directory that targets are relative to
	paths []member // from a name or a pattern with one "*" to a list of targets
}

// maxConfigs bounds how many files a tsconfig.json stands for, with those that it extends.
const maxConfigs = 16

// aliased finds what the nearest tsconfig.json makes of an import, which is not relative.
func (r *resolver) aliased(name, directory string) (string, bool, error) {
	a, err := r.aliasesAt(directory)
	if err != nil || a == nil {
		return "", false, err
	}
	targets, star := a.targets(name)
	for _, target := range targets {
		if file, ok := r.below(a.from, strings.Replace(target, "*", star, 1)); ok {
			return file, true, nil
		}
	}
	if a.base != "" {
		file, ok := r.below(a.base, name)
		return file, ok, nil
	}
	return "", false, nil
}

// targets are those of the exact name, else of the pattern with the longest part before its "*", for which star stands.
func (a *aliases) targets(name string) (targets []string, star string) {
	longest := -1
	for _, m := range a.paths {
		before, after, pattern := strings.Cut(m.name, "*")
		if m.name == name && !pattern {
			return m.value.strings(), ""
		}
		if pattern && len(before) > longest && len(name) >= len(before)+len(after) && strings.HasPrefix(name, before) && strings.HasSuffix(name, after) {
			longest, targets, star = len(before), m.value.strings(), name[len(before):len(name)-len(after)]
		}
	}
	return targets, star
}

// below finds a file by a path that is relative to a directory, within the archive.
func (r *resolver) below(directory, name string) (string, bool) {
	at := path.Join(directory, name)
	if name == "" || path.IsAbs(name) || at == ".." || strings.HasPrefix(at, "../") || strings.ContainsAny(name, ":\\\x00") {
		return "", false
	}
	file, ok := r.path(at, ownEndings)
	return file, ok && !strings.HasSuffix(file, ".d.ts")
}

// aliasesAt returns those of the nearest tsconfig.json of a directory, nil for none.
func (r *resolver) aliasesAt(directory string) (*aliases, error) {
	for ; ; directory = path.Dir(directory) {
		name := path.Join(directory, "tsconfig.json")
		if known, ok := r.configs[name]; ok {
			return known.aliases, known.err
		}
		if _, ok := r.tree.files[name]; ok {
			left := maxConfigs
			a, err := r.readAliases(name, &left)
			r.configs[name] = config{a, err}
			return a, err
		}
		if directory == "." {
			return nil, nil //nolint:nilnil // most have none
		}
	}
}

// config is what was read of a tsconfig.json.
type config struct {
	aliases *aliases
	err     error
}

// readAliases reads a tsconfig.json and, of the upload, the files that it extends.
func (r *resolver) readAliases(name string, left *int) (*aliases, error) {
	raw, there := r.tree.files[name]
	if !there {
		return nil, missing("a tsconfig.json extends %s, which the upload does not have", shortened(name))
	}
	if *left--; *left < 0 {
		return nil, missing("%s: more than %d files that extend each other", name, maxConfigs)
	}
	if len(raw) > maxManifestBytes {
		return nil, missing("%s is longer than %d bytes", name, maxManifestBytes)
	}
	n, err := readNode(json.NewDecoder(bytes.NewReader(withoutComments(raw))), maxManifestDepth)
	if err != nil {
		return nil, missing("%s can't be read: %v", name, err)
	}
	a, home := &aliases{}, path.Dir(name)
	for _, other := range n.get("extends").strings() {
		if !strings.HasPrefix(other, ".") {
			continue // a package's, which has no paths of this script
		}
		at := path.Join(home, other)
		if path.Ext(at) != ".json" {
			at += ".json"
		}
		var err error
		if a, err = r.readAliases(at, left); err != nil {
			return nil, err
		}
	}
	options := n.get("compilerOptions")
	if base := options.get("baseUrl").string(); base != "" {
		a.base = path.Join(home, base)
	}
	if paths := options.get("paths"); paths != nil && paths.kind == '{' {
		a.from, a.paths = home, slices.DeleteFunc(slices.Clone(paths.members), func(m member) bool { return m.value.kind != '[' })
		if a.base != "" {
			a.from = a.base
		}
	}
	return a, nil
}

// strings are the texts of a list, or the one text.
func (n *node) strings() []string {
	switch {
	case n == nil:
		return nil
	case n.kind == 0:
		return []string{n.text}
	}
	var list []string
	for _, m := range n.members {
		if n.kind == '[' && m.value.kind == 0 {
			list = append(list, m.value.text)
		}
	}
	return list
}

// withoutComments is JSON as TypeScript takes it, without its comments and without commas before a closing bracket.
func withoutComments(raw []byte) []byte {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		switch rest := raw[i:]; {
		case rest[0] == '"':
			end := 1
			for end < len(rest) && rest[end] != '"' {
				if rest[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end, len(rest)-1)
			out, i = append(out, rest[:end+1]...), i+end
		case bytes.HasPrefix(rest, []byte("//")):
			if end := bytes.IndexByte(rest, '\n'); end >= 0 {
				i += end
			} else {
				i = len(raw)
			}
			out = append(out, '\n')
		case bytes.HasPrefix(rest, []byte("/*")):
			if end := bytes.Index(rest[2:], []byte("*/")); end >= 0 {
				i += end + 3
			} else {
				i = len(raw)
			}
			out = append(out, ' ')
		case rest[0] == '}' || rest[0] == ']':
			if before := bytes.TrimRight(out, " \t\r\n"); bytes.HasSuffix(before, []byte(",")) {
				out = before[:len(before)-1]
			}
			out = append(out, rest[0])
		default:
			out = append(out, rest[0])
		}
	}
	return out
}
