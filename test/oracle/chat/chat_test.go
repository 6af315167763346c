package chat_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/test/oracle/chat"
)

const recording = "testdata/js.json"

var update = flag.Bool("update", false, "record what Genkit JS does; look at what changed")

// differing says in which case which difference occurs.
var differing = map[string]string{
	"nothing was ever sent":  "stored at once",
	"a tool that nobody has": "unknown tool",
}

func read(t *testing.T, file string, v any) []byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return raw
}

// live runs the cases through Genkit JS, or says why it can't.
func live(t *testing.T, cases []byte) (outcomes []*chat.Outcome, reason string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join("js", "node_modules", "genkit")); err != nil {
		return nil, "Genkit JS 1.34 is not installed: run npm install --no-package-lock in test/oracle/chat/js"
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, "there is no node"
	}
	cmd := exec.CommandContext(t.Context(), node, "chat.mjs")
	cmd.Dir, cmd.Stdin = "js", bytes.NewReader(cases)
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &outcomes)
	}
	if err != nil {
		t.Fatalf("node: %v", err)
	}
	return outcomes, ""
}

func theirs(t *testing.T, cases []byte) []*chat.Outcome {
	t.Helper()
	now, reason := live(t, cases)
	if *update {
		if reason != "" {
			t.Fatal(reason)
		}
		raw, err := json.MarshalIndent(now, "", " ")
		if err == nil {
			err = os.WriteFile(recording, append(raw, '\n'), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var recorded []*chat.Outcome
	read(t, recording, &recorded)
	if reason != "" {
		t.Logf("checked against the recording alone: %s", reason)
	} else if !reflect.DeepEqual(now, recorded) {
		t.Error("Genkit JS does not do what is recorded")
	}
	return recorded
}

func TestChatsAgainstGenkitJS(t *testing.T) {
	var cases []chat.Case
	js := theirs(t, read(t, "testdata/cases.json", &cases))
	if len(js) != len(cases) {
		t.Fatalf("%s holds %d outcomes of %d cases: record it anew", recording, len(js), len(cases))
	}
	known := map[string]bool{}
	for i := range cases {
		c := &cases[i]
		known[c.Name] = true
		t.Run(c.Name, func(t *testing.T) {
			ours, err := chat.Ours(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			a, b := text(t, ours), text(t, js[i])
			if same := a == b; same != (differing[c.Name] == "") {
				t.Errorf("the same: %v, listed difference: %q\nours   %s\ntheirs %s", same, differing[c.Name], a, b)
			}
		})
	}
	for name, difference := range differing {
		if !known[name] || chat.Differences[difference] == "" {
			t.Errorf("%q differs by %q, one of which is unknown", name, difference)
		}
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
