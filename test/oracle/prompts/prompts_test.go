//go:build peers

package prompts_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/test/oracle/prompts"
)

const (
	jsFile  = "testdata/js.json"
	docFile = "../../../docs/prompts.md"
)

var update = flag.Bool("update", false, "record Genkit JS anew, where it is installed")

// TestPromptsAgainstJS fails on a difference that no name explains, on a name that
// explains none, and on one that docs/prompts.md does not state.
func TestPromptsAgainstJS(t *testing.T) {
	fresh, err := prompts.GenkitJS(t.Context(), "../js", prompts.Cases)
	if err != nil && !errors.Is(err, prompts.ErrNoJS) {
		t.Fatal(err)
	}
	if fresh != nil && *update {
		record(t, fresh)
	}
	recorded := recording(t)
	occurs := map[string]bool{}
	for i := range prompts.Cases {
		c := &prompts.Cases[i]
		theirs := recorded[c.Name]
		if theirs == nil {
			t.Fatalf("%s lacks %q: run the test with -update where Genkit JS is installed", jsFile, c.Name)
		}
		compare(t, c, theirs, prompts.FromJS, occurs)
		if fresh == nil {
			continue
		}
		for _, atom := range prompts.Compare(theirs, fresh[i]) {
			t.Errorf("%s: Genkit JS is not as recorded (ours) but (theirs) %s", c.Name, atom)
		}
	}
	stated(t, "js", prompts.FromJS, occurs)
}

func TestPromptsAgainstGo(t *testing.T) {
	occurs := map[string]bool{}
	for i := range prompts.Cases {
		c := &prompts.Cases[i]
		theirs, err := prompts.GenkitGo(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, c, theirs, prompts.FromGo, occurs)
	}
	stated(t, "go", prompts.FromGo, occurs)
}

func compare(t *testing.T, c *prompts.Case, theirs *prompts.Observation, known []prompts.Difference, occurs map[string]bool) {
	t.Helper()
	ours, err := prompts.Ours(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if theirs.Described == nil { // the Go SDK is asked for messages alone
		ours = &prompts.Observation{Options: messagesOf(ours.Options)}
	}
	for _, atom := range prompts.Compare(ours, theirs) {
		name := prompts.Explain(known, c.Name, atom)
		if name == "" {
			t.Errorf("%s: no name explains %s", c.Name, atom)
		}
		occurs[name] = true
	}
}

// messagesOf leaves the messages of options, or the error.
func messagesOf(options any) any {
	m, _ := options.(map[string]any)
	kept := map[string]any{}
	for _, key := range []string{"messages", "error"} {
		if v, ok := m[key]; ok {
			kept[key] = v
		}
	}
	return kept
}

func stated(t *testing.T, peer string, known []prompts.Difference, occurs map[string]bool) {
	t.Helper()
	raw, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range known {
		if !occurs[d.Name] {
			t.Errorf("%s: %q occurs in no case", peer, d.Name)
		}
		if !strings.Contains(string(raw), "| "+d.Name+" |") {
			t.Errorf("%s: %q is not stated in %s", peer, d.Name, docFile)
		}
	}
}

func record(t *testing.T, observed []*prompts.Observation) {
	t.Helper()
	var b bytes.Buffer
	for i, o := range observed {
		b.WriteString(map[bool]string{true: "{\n", false: ",\n"}[i == 0])
		name, err := json.Marshal(prompts.Cases[i].Name)
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(append(name, ": "...), line...))
	}
	b.WriteString("\n}\n")
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(jsFile, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func recording(t *testing.T) map[string]*prompts.Observation {
	t.Helper()
	raw, err := os.ReadFile(jsFile)
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]*prompts.Observation{}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&recorded); err != nil {
		t.Fatal(err)
	}
	return recorded
}
