//go:build peers

package prompts

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Atom is one place where two observations differ.
type Atom struct {
	Path         string
	Ours, Theirs any
}

func (a Atom) String() string {
	return fmt.Sprintf("%s: ours %s, theirs %s", a.Path, shown(a.Ours), shown(a.Theirs))
}

func shown(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	if v == absent {
		return "nothing"
	}
	return fmt.Sprintf("%.300s", raw)
}

// absent is the value of a missing key.
var absent any = struct{ Absent bool }{true}

// Compare returns where two observations differ. The text of errors is not compared.
func Compare(ours, theirs *Observation) []Atom {
	var atoms []Atom
	diff("", plain(ours), plain(theirs), &atoms)
	return atoms
}

var ignored = regexp.MustCompile(`\.error\.message$`)

func diff(path string, a, b any, atoms *[]Atom) {
	if ignored.MatchString(path) {
		return
	}
	x, okX := a.(map[string]any)
	y, okY := b.(map[string]any)
	if okX && okY {
		keys := slices.Sorted(maps.Keys(x))
		for key := range y {
			if _, both := x[key]; !both {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		for _, key := range keys {
			diff(path+"."+key, get(x, key), get(y, key), atoms)
		}
		return
	}
	l, okL := a.([]any)
	m, okM := b.([]any)
	if okL && okM && len(l) == len(m) {
		for i := range l {
			diff(fmt.Sprintf("%s[%d]", path, i), l[i], m[i], atoms)
		}
		return
	}
	if shown(a) != shown(b) {
		*atoms = append(*atoms, Atom{strings.TrimPrefix(path, "."), a, b})
	}
}

func get(m map[string]any, key string) any {
	if v, ok := m[key]; ok {
		return v
	}
	return absent
}

// Difference is a known one: where it is, and when it counts as this.
type Difference struct {
	Name string
	Path string // a regular expression
	// Ours and Theirs are what is found there as JSON, in a regular expression; ""
	// is anything.
	Ours, Theirs string
	// Only names the cases in which it may occur; none is all.
	Only []string
}

// Explain returns the name of the difference that an atom of a case is, "" for none.
func Explain(known []Difference, name string, a Atom) string {
	for _, d := range known {
		if len(d.Only) > 0 && !slices.Contains(d.Only, name) {
			continue
		}
		fits := func(pattern string, v any) bool {
			return pattern == "" || regexp.MustCompile(`^(?:`+pattern+`)$`).MatchString(shown(v))
		}
		if regexp.MustCompile(`^(?:`+d.Path+`)$`).MatchString(a.Path) && fits(d.Ours, a.Ours) && fits(d.Theirs, a.Theirs) {
			return d.Name
		}
	}
	return ""
}
