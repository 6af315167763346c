package script

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// answer is the outcome of transforming a script.
type answer struct {
	Code     []byte   `json:"code,omitempty"`
	Files    []string `json:"files,omitempty"` // the sources of Mappings
	Mappings string   `json:"mappings,omitempty"`
	Error    string   `json:"error,omitempty"` // why there is none
}

func (a *answer) script() (*Script, error) {
	if a.Error != "" {
		return nil, status.Publicf(status.InvalidArgument, "%s", abi.Clean(a.Error, 4<<10))
	}
	return &Script{Code: a.Code, places: readMappings(a.Files, a.Mappings)}, nil
}

// namespace is that of the archive's files in esbuild.
const namespace = "upload"

// finished makes an answer of what esbuild has made.
func finished(what string, code, sourceMap []byte) (*answer, error) {
	if bytes.IndexByte(code, 0) >= 0 { // the engine reads up to one
		return nil, invalid(what + " holds a NUL character")
	}
	var m struct {
		Sources  []string `json:"sources"`
		Mappings string   `json:"mappings"`
	}
	if err := json.Unmarshal(sourceMap, &m); err != nil {
		return nil, status.Errorf(status.Internal, "transform: source map: %w", err)
	}
	for i, source := range m.Sources {
		m.Sources[i] = strings.TrimPrefix(source, namespace+":")
	}
	return &answer{Code: code, Files: m.Sources, Mappings: m.Mappings}, nil
}

func invalid(text string) error { return status.Publicf(status.InvalidArgument, "%s", text) }

// sourceText is a file's text as esbuild may have it: valid UTF-8, and without references to source maps, which it would
// follow, and which would name places that the author does not know.
func sourceText(file string, source []byte, loader api.Loader) (string, error) {
	if !utf8.Valid(source) {
		return "", invalid(file + " is not valid UTF-8")
	}
	if loader == api.LoaderJSON {
		return string(source), nil
	}
	// Within a comment this is no reference any more; within a literal it means the same.
	return strings.NewReplacer("# sourceMappingURL=", `# sourceMappingURL\x3d`, "@ sourceMappingURL=", `@ sourceMappingURL\x3d`).Replace(string(source)), nil
}

// told writes errors as compilers do: "tool.ts:3:10: Expected …".
func told(file string, errs []api.Message) string {
	lines := make([]string, 0, maxErrors)
	for _, e := range errs[:min(len(errs), maxErrors)] {
		at := file
		if e.Location != nil {
			at = fmt.Sprintf("%s:%d:%d", e.Location.File, e.Location.Line, e.Location.Column+1)
		}
		hint := ""
		if strings.HasPrefix(e.Text, "Top-level await") {
			hint = " (a script is evaluated when it is uploaded; wait in run instead)"
			e.Text = "top-level await is not supported"
		}
		lines = append(lines, at+": "+e.Text+hint)
	}
	return strings.Join(lines, "\n")
}
