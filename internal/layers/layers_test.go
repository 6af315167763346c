package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNoArrowLeadsBackUp(t *testing.T) {
	all, err := load(t.Context(), "../..")
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, p := range all {
		seen[p.name] = true
		table, ok := layered[p.name]
		assert.True(t, ok, "%s is not in the table", p.name)
		for _, fault := range p.faults(table) {
			t.Error(fault)
		}
	}
	for name := range layered {
		assert.True(t, seen[name], "the table has a package %s, and there is none", name)
	}

	text, err := os.ReadFile("../../" + page)
	require.NoError(t, err)
	want, err := replace(string(text), draw(all))
	require.NoError(t, err)
	assert.Equal(t, want, string(text), "run go run ./internal/layers -write")
}

func TestArrowsBackUpAreFound(t *testing.T) {
	p := &pkg{name: "p", groups: []string{"a", "b", "c"}, arrows: map[string]map[string][]string{}}
	p.add("a", "b", "f")
	p.add("b", "c", "T")
	p.add("b", "c", "T")
	assert.Empty(t, p.faults("a | b | c"))
	assert.Equal(t, []string{"a", "b", "c"}, p.suggest())
	assert.Empty(t, p.circles())
	assert.Equal(t, []string{"p: b, which is not above c, uses its T"}, p.faults("a | b c"), "groups of one layer do not use each other")
	assert.Len(t, p.faults("c | b | a"), 2)
	assert.Equal(t, []string{"p: the group c has no layer in internal/layers/table.go"}, p.faults("a | b"))
	assert.Equal(t, []string{"p: the table has a group d, and there is no such file"}, p.faults("a | b | c | d"))
	p.add("c", "a", "v")
	assert.Len(t, p.faults("a | b | c"), 1)
	assert.Equal(t, []string{"p: a → b: f", "p: b → c: T", "p: c → a: v"}, p.circles())
	assert.Empty(t, strings.Join(p.suggest(), ""), "groups in a circle have no layer")
}

func TestGroupsGoByTheFirstWord(t *testing.T) {
	for file, want := range map[string]string{"dir.go": "dir", "x/dir_change.go": "dir", "pages_linux.go": "pages"} {
		assert.Equal(t, want, groupOf(file))
	}
}
