package agent

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// diff returns the JSON Patch that makes to of from, nil when they are equal; a nil text is
// null. Members are taken in the order of their names, arrays index by index, as Genkit's
// SDKs do it: there is no move, copy or test.
func diff(from, to json.RawMessage) ([]PatchOp, error) {
	a, err := decodeValue(from)
	if err != nil {
		return nil, err
	}
	b, err := decodeValue(to)
	if err != nil {
		return nil, err
	}
	p := &patcher{}
	p.compare("", a, b)
	return p.ops, p.err
}

// replaceAll is the patch that sets the whole value.
func replaceAll(to json.RawMessage) []PatchOp {
	if len(to) == 0 {
		to = json.RawMessage("null")
	}
	return []PatchOp{{Op: "replace", Path: "", Value: to}}
}

func decodeValue(raw json.RawMessage) (v any, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err = d.Decode(&v); err != nil {
		return nil, status.Errorf(status.Internal, "read the custom state: %w", err)
	}
	return v, nil
}

type patcher struct {
	ops []PatchOp
	err error
}

func (p *patcher) add(op, path string, value any) {
	raw, err := rawjson.Encode(value)
	if err != nil && p.err == nil {
		p.err = status.Errorf(status.Internal, "encode a patch: %w", err)
	}
	p.ops = append(p.ops, PatchOp{Op: op, Path: path, Value: raw})
}

func (p *patcher) remove(path string) { p.ops = append(p.ops, PatchOp{Op: "remove", Path: path}) }

func (p *patcher) compare(path string, a, b any) {
	switch was := a.(type) {
	case map[string]any:
		if is, ok := b.(map[string]any); ok {
			p.objects(path, was, is)
			return
		}
	case []any:
		if is, ok := b.([]any); ok {
			p.arrays(path, was, is)
			return
		}
	}
	if !rawjson.EqualValue(a, b) {
		p.add("replace", path, b)
	}
}

var pointer = strings.NewReplacer("~", "~0", "/", "~1")

func (p *patcher) objects(path string, a, b map[string]any) {
	names := make([]string, 0, len(a)+len(b))
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		if _, both := a[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		below := path + "/" + pointer.Replace(name)
		was, had := a[name]
		is, has := b[name]
		switch {
		case !has:
			p.remove(below)
		case !had:
			p.add("add", below, is)
		default:
			p.compare(below, was, is)
		}
	}
}

func (p *patcher) arrays(path string, a, b []any) {
	for i := range min(len(a), len(b)) {
		p.compare(path+"/"+strconv.Itoa(i), a[i], b[i])
	}
	for i := len(a); i < len(b); i++ {
		p.add("add", path+"/-", b[i])
	}
	for i := len(a) - 1; i >= len(b); i-- {
		p.remove(path + "/" + strconv.Itoa(i))
	}
}
