package tooltest

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/yamljson"
)

const maxCases = 10_000

// File is what an author's file of cases says.
type File struct {
	// Grant lists capabilities that the cases need. Who runs them decides which of these a file may ask for: it comes
	// with the sources, and they may be a stranger's.
	Grant []string `json:"grant,omitempty"`
	Cases []Case   `json:"cases"`
}

// Case is one call and what it has to come to: Want, WantError or WantInterrupt, one of them.
type Case struct {
	Name          string          `json:"name,omitempty"`
	Tool          string          `json:"tool,omitempty"` // may be left out where there is one
	Input         json.RawMessage `json:"input,omitempty"`
	Context       json.RawMessage `json:"context,omitempty"`       // the caller's, an object
	Want          json.RawMessage `json:"want,omitempty"`          // the output, as JSON
	WantError     string          `json:"wantError,omitempty"`     // a status, such as NOT_FOUND
	WantInterrupt json.RawMessage `json:"wantInterrupt,omitempty"` // its metadata
	// Host is what the host answers, in the place of the real one. With it nothing goes out: a request that nothing here
	// answers fails the case, and so does an answer that nothing asks for.
	Host []Fake `json:"host,omitempty"`
}

// Parse reads and checks cases in YAML. Each of them has a name.
func Parse(raw []byte) (*File, error) {
	top, err := yamljson.Read(raw)
	if err != nil {
		return nil, err
	}
	found := &File{}
	if top == nil { // nothing but comments
		return found, nil
	}
	text, err := yamljson.JSON(top, nil)
	if err != nil {
		return nil, err
	}
	if err := schema.Decode(text, found, schema.RefuseUnknown); err != nil {
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

func (c *Case) check() error {
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
	for i := range c.Host {
		if err := c.Host[i].check(); err != nil {
			return fmt.Errorf("host: answer %d: %w", i+1, err)
		}
	}
	return nil
}

// wanted is what the case has to come to, in words or JSON.
func (c *Case) wanted() string {
	switch {
	case c.WantError != "":
		return "error " + c.WantError
	case c.WantInterrupt != nil:
		return "interrupt " + string(c.WantInterrupt)
	}
	return string(c.Want)
}
