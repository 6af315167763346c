package schema_test

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

const draft7 = "http://json-schema.org/draft-07/schema#"

type suiteGroup struct {
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"schema"`
	Tests       []struct {
		Description string          `json:"description"`
		Data        json.RawMessage `json:"data"`
		Valid       bool            `json:"valid"`
	} `json:"tests"`
}

// excluded are cases of the suite that this package refuses on purpose, with the
// reason.
var excluded = map[string]string{}

// TestJSONSchemaTestSuite runs the required cases of the official suite, each
// through both forms of the schema where there are two.
func TestJSONSchemaTestSuite(t *testing.T) {
	root := enginetest.Spec(t, "json-schema")
	for _, draft := range []string{"draft2020-12", "draft7"} {
		t.Run(draft, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join(root, "tests", draft, "*.json"))
			require.NoError(t, err)
			require.NotEmpty(t, files)
			var count, fast, skipped int
			slow := map[string]int{}
			for _, file := range files {
				raw, err := os.ReadFile(file)
				require.NoError(t, err)
				var groups []suiteGroup
				require.NoError(t, json.Unmarshal(raw, &groups))
				for _, g := range groups {
					s, err := schema.CompileWith(inDraft(t, draft, g.Schema), remotes(root, draft))
					if err != nil {
						t.Errorf("%s: %s: compile: %v", filepath.Base(file), g.Description, err)
						continue
					}
					for _, c := range g.Tests {
						name := strings.Join([]string{draft, filepath.Base(file), g.Description, c.Description}, ": ")
						if excluded[name] != "" {
							skipped++
							continue
						}
						count++
						if got := s.Validate(c.Data); (got == nil) != c.Valid {
							t.Errorf("%s: got %v, want valid %v\nschema %s\ndata %s", name, got, c.Valid, g.Schema, c.Data)
						}
						if !s.Demanding() || s.Fast() {
							fast++
						} else {
							slow[filepath.Base(file)]++
						}
						if s.Fast() {
							if got := s.ValidateFast(c.Data); (got == nil) != c.Valid {
								t.Errorf("%s: the fast form says %v, want valid %v\nschema %s\ndata %s", name, got, c.Valid, g.Schema, c.Data)
							}
						}
						if s.Demanding() {
							if got := s.ValidateSlow(c.Data); (got == nil) != c.Valid {
								t.Errorf("%s: the slow form says %v, want valid %v", name, got, c.Valid)
							}
						}
					}
				}
			}
			t.Logf("%d cases, %d of them fast, %d excluded; slow: %v", count, fast, skipped, slow)
		})
	}
}

// inDraft says which draft a schema is of, as the folder does for the suite.
func inDraft(t *testing.T, draft string, raw json.RawMessage) json.RawMessage {
	if draft != "draft7" {
		return raw
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil || object["$schema"] != nil {
		return raw
	}
	object["$schema"] = json.RawMessage(`"` + draft7 + `"`)
	out, err := json.Marshal(object)
	require.NoError(t, err)
	return out
}

func remotes(root, draft string) schema.Loader {
	return func(address string) (any, error) {
		path, ok := strings.CutPrefix(address, "http://localhost:1234/")
		if !ok {
			return nil, schema.ErrRemoteRef
		}
		path, err := url.PathUnescape(path)
		if err != nil {
			return nil, err
		}
		f, err := os.Open(filepath.Join(root, "remotes", filepath.FromSlash(path)))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		doc, err := jsonschema.UnmarshalJSON(f)
		if object, ok := doc.(map[string]any); ok && draft == "draft7" && object["$schema"] == nil {
			object["$schema"] = draft7
		}
		return doc, err
	}
}
