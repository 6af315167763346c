package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const (
	casesFile     = "cases.yaml"
	maxCasesBytes = 16 << 20
	maxCases      = 10_000
)

// caseFile is what an author's file of cases says.
type caseFile struct {
	// Grant lists what --grant may: kv and clock. Anything else that reaches out is the flags' to grant: the file
	// comes with the sources, and they may be a stranger's.
	Grant []string   `json:"grant,omitempty"`
	Cases []testCase `json:"cases"`
}

// testCase is one call and what it has to come to: want, wantError or wantInterrupt, one of them.
type testCase struct {
	Name          string          `json:"name,omitempty"`
	Tool          string          `json:"tool,omitempty"` // may be left out where there is one
	Input         json.RawMessage `json:"input,omitempty"`
	Context       json.RawMessage `json:"context,omitempty"`       // the caller's, an object
	Want          json.RawMessage `json:"want,omitempty"`          // the output, as JSON
	WantError     string          `json:"wantError,omitempty"`     // a status, such as NOT_FOUND
	WantInterrupt json.RawMessage `json:"wantInterrupt,omitempty"` // its metadata
}

// readCases reads a file of cases. One that is missing is no mistake unless it was asked for.
func readCases(file string, asked bool) (*caseFile, error) {
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) && !asked {
		return &caseFile{}, nil
	}
	raw, err := readFile(file, maxCasesBytes)
	if err != nil {
		return nil, err
	}
	found, err := parseCases(raw)
	if err != nil {
		return nil, usagef("%s: %w", file, err)
	}
	return found, nil
}

// parseCases reads and checks cases in YAML.
func parseCases(raw []byte) (found *caseFile, err error) {
	defer func() {
		if r := recover(); r != nil { // the library panics on some damaged documents
			found, err = nil, errors.New("not YAML")
		}
	}()
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF): // nothing but comments
		return &caseFile{}, nil
	case err != nil:
		return nil, fmt.Errorf("not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if dec.Decode(&yaml.Node{}) == nil {
		return nil, errors.New("more than one document")
	}
	var b bytes.Buffer
	if err := writeJSONOf(&b, doc.Content[0], 0, func(text string) (string, error) { return text, nil }); err != nil {
		return nil, err
	}
	found = &caseFile{}
	if err := schema.Decode(b.Bytes(), found, schema.RefuseUnknown); err != nil {
		return nil, err
	}
	if len(found.Cases) > maxCases {
		return nil, fmt.Errorf("%d cases, more than %d", len(found.Cases), maxCases)
	}
	for i := range found.Cases {
		c := &found.Cases[i]
		if c.Name == "" {
			c.Name = fmt.Sprintf("case %d", i+1)
		}
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("case %d (%s): %w", i+1, c.Name, err)
		}
	}
	return found, nil
}

func (c *testCase) check() error {
	wants := 0
	for _, there := range []bool{c.Want != nil, c.WantError != "", c.WantInterrupt != nil} {
		if there {
			wants++
		}
	}
	if wants != 1 {
		return errors.New("want one of want, wantError and wantInterrupt")
	}
	if code, known := status.Parse(c.WantError); c.WantError != "" && (!known || code == status.OK) {
		return fmt.Errorf("wantError is %q, want a status such as NOT_FOUND or INVALID_ARGUMENT", c.WantError)
	}
	if c.Context != nil && c.Context[0] != '{' {
		return errors.New("context: want an object")
	}
	return nil
}
