//go:build peers

package talk_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/test/oracle/talk"
)

const (
	root     = "../../.."
	listFile = "testdata/differs.json"
	jsFile   = "testdata/js.json"
	docFile  = root + "/docs/differences.md"
)

var update = flag.Bool("update", false, "rewrite testdata and docs/differences.md; look at what changed")

// occurring is conversation → peer → names of differences.
type occurring map[string]map[string][]string

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the SDK logs to it
	os.Exit(m.Run())
}

// TestEngineAgainstPeers fails on a difference that no name explains, on one that
// testdata/differs.json does not list for the conversation, and on one that it
// lists and that no longer occurs.
func TestEngineAgainstPeers(t *testing.T) {
	got := occurring{}
	t.Run("go", func(t *testing.T) { againstGo(t, got) })
	t.Run("js", func(t *testing.T) { againstJS(t, got) })
	if t.Failed() {
		return
	}
	if *update {
		write(t, listFile, string(encode(t, got))+"\n")
		return
	}
	want := listed(t)
	for _, c := range talk.Conversations {
		for peer, names := range got[c.Name] {
			if !slices.Equal(names, want[c.Name][peer]) {
				t.Errorf("%s, %s: differs by %v, %s says %v", c.Name, peer, names, listFile, want[c.Name][peer])
			}
		}
	}
	for name := range want {
		if _, known := got[name]; !known {
			t.Errorf("%s lists %q, which is no conversation", listFile, name)
		}
	}
}

func againstGo(t *testing.T, got occurring) {
	for i := range talk.Conversations {
		c := &talk.Conversations[i]
		theirs, err := talk.GenkitGo(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, got, "go", talk.FromGo, c, theirs)
	}
}

// againstJS takes the results of Genkit JS from the recording and, where it is
// installed, from a run, which must be the same.
func againstJS(t *testing.T, got occurring) {
	fresh, err := talk.GenkitJS(t.Context(), "../js", talk.Conversations)
	if err != nil && !errors.Is(err, talk.ErrNoJS) {
		t.Fatal(err)
	}
	if fresh == nil {
		t.Logf("only the recording of Genkit JS is looked at: %v", err)
	}
	if fresh != nil && *update {
		write(t, jsFile, record(t, fresh))
	}
	recorded := recording(t)
	for i := range talk.Conversations {
		c := &talk.Conversations[i]
		if recorded[c.Name] == nil {
			t.Fatalf("%s lacks %q: run the test with -update where Genkit JS is installed", jsFile, c.Name)
		}
		compare(t, got, "js", talk.FromJS, c, recorded[c.Name])
		if fresh == nil {
			continue
		}
		for _, atom := range talk.Compare(c, recorded[c.Name], fresh[i]) {
			t.Errorf("%s: Genkit JS is not as recorded (ours) but (theirs) %s", c.Name, atom)
		}
	}
}

// record writes one conversation to a line.
func record(t *testing.T, observed []*talk.Observation) string {
	var b strings.Builder
	for i, o := range observed {
		b.WriteString(map[bool]string{true: "{\n", false: ",\n"}[i == 0])
		name, err := json.Marshal(talk.Conversations[i].Name)
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(append(name, ": "...), line...))
	}
	return b.String() + "\n}\n"
}

func recording(t *testing.T) map[string]*talk.Observation {
	t.Helper()
	raw, err := os.ReadFile(jsFile)
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]*talk.Observation{}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&recorded); err != nil {
		t.Fatal(err)
	}
	return recorded
}

func compare(t *testing.T, got occurring, peer string, known []talk.Difference, c *talk.Conversation, theirs *talk.Observation) {
	t.Helper()
	ours, err := talk.Ours(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, atom := range talk.Compare(c, ours, theirs) {
		name := talk.Explain(known, c.Name, atom)
		if name == "" {
			t.Errorf("%s, %s: no name explains %s\nerror of ours: %s\nerror of theirs: %s", c.Name, peer, atom, ours.Message, theirs.Message)
			continue
		}
		names[name] = true
	}
	if got[c.Name] == nil {
		got[c.Name] = map[string][]string{}
	}
	got[c.Name][peer] = slices.AppendSeq([]string{}, maps.Keys(names))
	slices.Sort(got[c.Name][peer])
}

func listed(t *testing.T) occurring {
	t.Helper()
	list := occurring{}
	raw, err := os.ReadFile(listFile)
	if err != nil && *update {
		return list
	}
	if err == nil {
		err = json.Unmarshal(raw, &list)
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestEveryDifferenceOccursAndIsStated looks at the lists themselves.
func TestEveryDifferenceOccursAndIsStated(t *testing.T) {
	list := listed(t)
	for peer, known := range map[string][]talk.Difference{"go": talk.FromGo, "js": talk.FromJS} {
		names := map[string]bool{}
		for _, d := range known {
			if names[d.Name] {
				t.Errorf("%s: two differences are named %q", peer, d.Name)
			}
			names[d.Name] = true
			if len(where(list, peer, d.Name)) == 0 {
				t.Errorf("%s: %q occurs in no conversation", peer, d.Name)
			}
			raw, err := os.ReadFile(filepath.Join(root, d.File))
			if err != nil || !strings.Contains(string(raw), d.Text) {
				t.Errorf("%s: %q is not stated in %s as %q (%v)", peer, d.Name, d.File, d.Text, err)
			}
		}
		for conversation, peers := range list {
			for _, name := range peers[peer] {
				if !names[name] {
					t.Errorf("%s, %s: %q is no difference", conversation, peer, name)
				}
			}
		}
	}
}

func where(list occurring, peer, name string) []string {
	var found []string
	for _, c := range talk.Conversations {
		if slices.Contains(list[c.Name][peer], name) {
			found = append(found, c.Name)
		}
	}
	return found
}

// TestTheOrderOfTools pins that the model is shown tools in the order of the call,
// which the Go SDK takes from a map.
func TestTheOrderOfTools(t *testing.T) {
	names := []string{"zero", "add", "slow", "fast", "big", "ask"}
	c := talk.Conversations[0]
	c.Options = json.RawMessage(fmt.Sprintf(`{"messages":[{"role":"user","content":[{"text":"hi"}]}],"tools":["%s"]}`, strings.Join(names, `","`)))
	for range 10 {
		ours, err := talk.Ours(t.Context(), &c)
		if err != nil {
			t.Fatal(err)
		}
		if got := shown(t, ours); !slices.Equal(got, names) {
			t.Fatalf("the model is shown %v, want %v", got, names)
		}
	}
	for range 100 {
		theirs, err := talk.GenkitGo(t.Context(), &c)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(shown(t, theirs), names) {
			return
		}
	}
	t.Error("the Go SDK keeps the order of tools now: say so in docs/differences.md")
}

func shown(t *testing.T, o *talk.Observation) []string {
	t.Helper()
	var request struct {
		Tools []struct{ Name string }
	}
	if err := json.Unmarshal(encode(t, o.Requests[0]), &request); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range request.Tools {
		names = append(names, tool.Name)
	}
	return names
}

func TestTheDocumentIsTheList(t *testing.T) {
	text := document(listed(t))
	if *update {
		write(t, docFile, text)
		return
	}
	raw, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(raw) != text {
		t.Errorf("%s is out of date: run the test with -update", docFile)
	}
}

func document(list occurring) string {
	var b strings.Builder
	alike := map[string]int{}
	for _, peers := range list {
		for _, peer := range []string{"go", "js"} {
			if len(peers[peer]) == 0 {
				alike[peer]++
			}
		}
	}
	fmt.Fprintf(&b, `# Where this engine differs from Genkit

Genkit JS is the reference: where its SDKs disagree, this engine does what JS does, and says so where it does not. The
list is made by a test (test/oracle) that runs %d scripted conversations through this engine, Genkit's Go SDK v1.9.0 and
Genkit JS 1.42.0 and compares what the model was asked, which tools ran, what was streamed, the response and the status
of the error. A difference without a name fails the test, and so does one that is listed and no longer occurs. What JS
does is recorded in the test's data, and checked against JS itself where that is installed. This page is written by the
same test (`+"`-update`"+`).

%d conversations come out alike in all that is compared with JS, %d with Go, whose responses always lack a few
fields. Not compared: the text of errors and the value of latencies. In Go the order of tool definitions is that of a
map; here it is that of the call. A status is what goes over the wire: an error without one is INTERNAL, which the Go SDK
spells INTERNAL_SERVER_ERROR.

"Open" marks what is to be mended here; the rest is on purpose.
`, len(list), alike["js"], alike["go"])
	section(&b, list, "js", "To Genkit JS", "JS", talk.FromJS)
	section(&b, list, "go", "To Genkit's Go SDK", "Go", talk.FromGo)
	return b.String()
}

func section(b *strings.Builder, list occurring, peer, title, who string, known []talk.Difference) {
	fmt.Fprintf(b, "\n## %s\n\n| name | we | %s | why | stated in | seen when |\n|---|---|---|---|---|---|\n", title, who)
	for _, d := range known {
		why := d.Why
		if d.Open {
			why = "**Open**: " + why
		}
		seen := where(list, peer, d.Name)
		when := fmt.Sprintf("%d conversations, such as: %s", len(seen), seen[0])
		if len(seen) == 1 {
			when = seen[0]
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | [%s](../%s) | %s |\n", d.Name, d.We, d.They, why, filepath.Base(d.File), d.File, when)
	}
}
