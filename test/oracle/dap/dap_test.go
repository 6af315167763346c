package dap_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/test/oracle/dap"
)

const recording = "testdata/js.json"

var update = flag.Bool("update", false, "record what Genkit JS does; look at what changed")

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

func theirs(t *testing.T, keys []byte) *dap.Answers {
	t.Helper()
	recorded, now := &dap.Answers{}, &dap.Answers{}
	node, err := exec.LookPath("node")
	if _, missing := os.Stat(filepath.Join("js", "node_modules", "genkit")); err != nil || missing != nil {
		if *update {
			t.Fatal("Genkit JS is not installed")
		}
		t.Log("checked against the recording alone: run npm install --no-package-lock in test/oracle/dap/js")
		read(t, recording, recorded)
		return recorded
	}
	cmd := exec.CommandContext(t.Context(), node, "dap.mjs")
	cmd.Dir, cmd.Stdin = "js", bytes.NewReader(keys)
	out, err := cmd.Output()
	if err == nil && *update {
		err = os.WriteFile(recording, out, 0o600)
	}
	if err == nil {
		err = json.Unmarshal(out, now)
	}
	if err != nil {
		t.Fatalf("node: %v", err)
	}
	read(t, recording, recorded)
	if !same(t, now, recorded) {
		t.Error("Genkit JS does not do what is recorded")
	}
	return recorded
}

func same(t *testing.T, a, b any) bool {
	t.Helper()
	var values [2]any
	for i, v := range []any{a, b} {
		raw, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(raw, &values[i])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}

func TestProvidersAgainstGenkitJS(t *testing.T) {
	var keys []string
	js := theirs(t, read(t, "testdata/keys.json", &keys))
	ours, err := dap.Ours(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		equal := same(t, ours.Lookups[key], js.Lookups[key]) && same(t, ours.Names[key], js.Names[key])
		if _, listed := dap.Differences[key]; equal == listed {
			t.Errorf("%s: the same: %v, listed as different: %v\nours   %v %v\ntheirs %v %v", key, equal, listed, ours.Lookups[key], ours.Names[key], js.Lookups[key], js.Names[key])
		}
	}
	for what, pair := range map[string][2]any{"catalog": {ours.Catalog, js.Catalog}, "provider": {ours.Provider, js.Provider}, "list": {ours.List, js.List}} {
		if !same(t, pair[0], pair[1]) {
			t.Errorf("%s:\nours   %s\ntheirs %s", what, pair[0], pair[1])
		}
	}
}
