//go:build peers

package retrieval_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/test/oracle/retrieval"
)

const (
	jsDir   = "../js"
	jsFile  = "testdata/js.json"
	docFile = "../../../docs/retrieval.md"
)

var update = flag.Bool("update", false, "rewrite testdata/js.json with what Genkit JS does; look at what changed")

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the SDK logs to it
	os.Exit(m.Run())
}

// difference is one way in which a peer behaves otherwise, stated in docs/retrieval.md.
type difference struct {
	peer string
	name string // stands in the document
	// where fits "action request: path".
	where string
}

const localStore = `/(retriever|indexer)/devLocalVectorstore/store `

var differences = []difference{
	{"js", "An embedder's options are checked", `/embedder/test/letters .*"by":"x".*: (status|output|saw)$`},
	{"js", "The local store has more options", localStore + `.*: metadata\.(retriever|indexer)\.customOptions.*$`},
	{"js", "The local store has a label", localStore + `.*: metadata\.info$`},
	{"js", "Options that the local store does not know are refused", localStore + `.*"other":1.*: (status|output|saw)$`},
	{"js", "What is stored is not embedded again", `/indexer/devLocalVectorstore/store .*: saw$`},
	{"js", "No options are no options", `/retriever/devLocalVectorstore/store .*: saw$`},

	{"go", "Empty lists are written", `.*(\[\]|none).*: output$`},
	{"go", "Requests need what their schema says", `/(embedder|retriever)/test/\w+ \{\}: (status|output|saw)$`},
	{"go", "Null is checked like other options", `/retriever/test/times .*"options":null.*: (status|output)$`},
	{"go", "Requests may have further fields", `.*"more":1.*: (status|output|saw)$`},
	{"go", "There is no label without one", `/retriever/test/(echo|fails) .*: metadata\.info$`},
	{"go", "The local store has more options", localStore + `.*: metadata\.(retriever|indexer)\.customOptions.*$`},
	{"go", "The local store has a label", localStore + `.*: metadata\.info\.(label|supports)$`},
	{"go", "The local store takes options from the wire", localStore + `.*"k":.*: (status|output|saw)$`},
	{"go", "The metadata of embeddings is kept", localStore + `.*"text":"a"\}\]\}\}: output$`},
	{"go", "Errors of an embedder keep their status", localStore + `.*fail.*: status$`},
}

// against compares a peer's results with those of this engine.
func against(t *testing.T, peer string, theirs []*retrieval.Observation) {
	t.Helper()
	ours, err := retrieval.Ours(t.Context(), retrieval.Cases)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	used, described := map[int]bool{}, map[string]bool{}
	compared := 0
	for i, c := range retrieval.Cases {
		if theirs[i] == nil {
			continue
		}
		compared++
		if described[c.Action] { // once
			ours[i].Metadata, theirs[i].Metadata = nil, nil
		}
		described[c.Action] = true
		for _, path := range differ(ours[i], theirs[i]) {
			at := fmt.Sprintf("%s %s: %s", c.Action, c.In, path)
			n := slices.IndexFunc(differences, func(d difference) bool {
				return d.peer == peer && regexp.MustCompile("^(?:"+d.where+")").MatchString(at)
			})
			if n < 0 {
				t.Errorf("%s\n  ours   %s\n  theirs %s", at, show(ours[i]), show(theirs[i]))
				continue
			}
			used[n] = true
			if !strings.Contains(string(doc), differences[n].name) {
				t.Errorf("%s does not state the difference %q", docFile, differences[n].name)
			}
		}
	}
	for n, d := range differences {
		if d.peer == peer && !used[n] {
			t.Errorf("the difference %q (%s) occurs no more", d.name, d.where)
		}
	}
	t.Logf("%d of %d requests compared with %s", compared, len(retrieval.Cases), peer)
}

// differ returns where two observations differ; the texts of errors may.
func differ(a, b *retrieval.Observation) (paths []string) {
	if a.Status != b.Status {
		paths = append(paths, "status")
	}
	if !reflect.DeepEqual(a.Output, b.Output) {
		paths = append(paths, "output")
	}
	if !reflect.DeepEqual(a.Saw, b.Saw) {
		paths = append(paths, "saw")
	}
	return append(paths, walk("metadata", a.Metadata, b.Metadata)...)
}

func walk(path string, a, b any) (paths []string) {
	x, isX := a.(map[string]any)
	y, isY := b.(map[string]any)
	if !isX || !isY {
		if !reflect.DeepEqual(a, b) {
			return []string{path}
		}
		return nil
	}
	keys := map[string]bool{}
	for _, m := range []map[string]any{x, y} {
		for k := range m {
			keys[k] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		paths = append(paths, walk(path+"."+k, x[k], y[k])...)
	}
	return paths
}

func show(o *retrieval.Observation) string {
	raw, err := json.Marshal(o)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func TestAgainstGenkitGo(t *testing.T) {
	theirs, err := retrieval.GenkitGo(t.Context(), retrieval.Cases)
	if err != nil {
		t.Fatal(err)
	}
	against(t, "go", theirs)
}

// TestAgainstGenkitJS takes the results of Genkit JS from the recording and, where it
// is installed, from a run, which must be the same.
func TestAgainstGenkitJS(t *testing.T) {
	fresh, err := genkitJS(t.Context())
	if err != nil {
		t.Logf("only the recording of Genkit JS is looked at: %v", err)
	}
	if *update && fresh != nil {
		if err := os.WriteFile(jsFile, record(t, fresh), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var recorded []*retrieval.Observation
	raw, err := os.ReadFile(jsFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &recorded); err != nil || len(recorded) != len(retrieval.Cases) {
		t.Fatalf("%s has %d observations for %d requests (%v): run the test with -update where Genkit JS is installed", jsFile, len(recorded), len(retrieval.Cases), err)
	}
	for i := range fresh {
		if paths := differ(recorded[i], fresh[i]); len(paths) > 0 {
			t.Errorf("%s %s: Genkit JS is not as recorded: %v", retrieval.Cases[i].Action, retrieval.Cases[i].In, paths)
		}
	}
	against(t, "js", recorded)
}

func genkitJS(ctx context.Context) ([]*retrieval.Observation, error) {
	if _, err := os.Stat(filepath.Join(jsDir, "node_modules", "@genkit-ai", "dev-local-vectorstore")); err != nil {
		return nil, errors.New("it is not installed: run npm install --no-package-lock in test/oracle/js")
	}
	in, err := json.Marshal(retrieval.Cases)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "node", "retrieval.mjs")
	cmd.Dir, cmd.Stdin = jsDir, bytes.NewReader(in)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("node: %w\n%s", err, failed.String())
	}
	var observed []*retrieval.Observation
	return observed, json.Unmarshal(out, &observed)
}

// record writes one observation to a line.
func record(t *testing.T, observed []*retrieval.Observation) []byte {
	t.Helper()
	lines := make([]string, len(observed))
	for i, o := range observed {
		lines[i] = show(o)
	}
	return []byte("[\n" + strings.Join(lines, ",\n") + "\n]\n")
}
