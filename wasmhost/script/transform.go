package script

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/compile"
)

// Language is the language of a script.
type Language string

// The languages.
const (
	JavaScript Language = "javascript"
	TypeScript Language = "typescript"
)

// LanguageOf returns the language of a file by its name; empty for what is no script.
func LanguageOf(file string) Language {
	switch at := strings.LastIndexByte(file, '.'); strings.ToLower(file[max(at, 0):]) {
	case ".ts", ".mts":
		return TypeScript
	case ".js", ".mjs":
		return JavaScript
	}
	return ""
}

// Bounds of a script.
const (
	// MaxBytes bounds a script's text.
	MaxBytes = 1 << 20
	// maxHere bounds a script that is transformed in this process, where time and memory are not bounded.
	maxHere = 64 << 10
	// maxErrors bounds how many of a script's errors are told.
	maxErrors = 5
)

// Script is a script as the engine evaluates it.
type Script struct {
	Code []byte

	file     string // for positions
	mappings string // of the source map; see [Script.Locate]
}

// Transform makes JavaScript of one file, without a process of its own and without touching a file system: types are
// taken out and not checked, imports of "genkit" become the prelude's. file is the name in positions. It fails with
// INVALID_ARGUMENT, and the author's line and column, when the text is not of its language.
func Transform(file string, language Language, source []byte) (*Script, error) {
	answer, err := transform(file, language, source)
	if err != nil {
		return nil, err
	}
	return answer.script(file)
}

// TransformApart is [Transform] in a process of its own, with limits on time and memory: command is that of
// wasmhost.CompileChild, and empty for this process, in which a script is at most 64 KiB long. It also fails with
// RESOURCE_EXHAUSTED when the text takes more than its size allows.
func TransformApart(ctx context.Context, command []string, file string, language Language, source []byte) (*Script, error) {
	most := MaxBytes
	if len(command) == 0 {
		most = maxHere
	}
	if len(source) > most {
		return nil, status.Publicf(status.InvalidArgument, "the script has %d bytes, and may have %d", len(source), most)
	}
	if len(command) == 0 {
		return Transform(file, language, source)
	}
	cpu, memory := allowed(len(source))
	job, err := json.Marshal(task{file, language, len(source)})
	if err != nil {
		return nil, status.Errorf(status.Internal, "transform: %w", err)
	}
	work := &compile.Job{
		Command: command, Env: childEnv + "=" + string(job), What: "transforming the script",
		CPU: cpu, MemoryBytes: memory, OutputBytes: 16*len(source) + 64<<10,
	}
	raw, err := work.Run(ctx, source)
	if err != nil {
		return nil, err
	}
	var a answer
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, status.Errorf(status.Internal, "transform: %w", err)
	}
	return a.script(file)
}

// allowed is what transforming may take: an honest script takes a tenth of it.
func allowed(bytes int) (cpu time.Duration, memory int64) {
	return time.Second + time.Duration(bytes)*4*time.Microsecond, 128<<20 + int64(bytes)*160
}

// childEnv marks the process that transforms a script, and holds its [task].
const childEnv = "GENKIT_WASM_SCRIPT_CHILD"

type task struct {
	File     string   `json:"file"`
	Language Language `json:"language"`
	Bytes    int      `json:"bytes"`
}

// Child is the hook for processes that transform scripts: it does not return in one.
func Child() {
	var t task
	given := os.Getenv(childEnv)
	if given == "" {
		return
	}
	if json.Unmarshal([]byte(given), &t) != nil || t.Bytes > MaxBytes {
		os.Exit(1)
	}
	cpu, memory := allowed(t.Bytes)
	os.Exit(compile.RunJob(cpu, memory, func() error {
		source, err := io.ReadAll(io.LimitReader(os.Stdin, MaxBytes+1))
		if err != nil || len(source) != t.Bytes {
			return errors.New("the script did not arrive")
		}
		a, err := transform(t.File, t.Language, source)
		if err != nil {
			a = &answer{Error: status.Convert(err).Message}
		}
		return json.NewEncoder(os.Stdout).Encode(a)
	}))
}

// answer is the outcome of transforming a script.
type answer struct {
	Code     []byte `json:"code,omitempty"`
	Mappings string `json:"mappings,omitempty"`
	Error    string `json:"error,omitempty"` // why there is none
}

func (a *answer) script(file string) (*Script, error) {
	if a.Error != "" {
		return nil, status.Publicf(status.InvalidArgument, "%s", abi.Clean(a.Error, 4<<10))
	}
	return &Script{Code: a.Code, file: file, mappings: a.Mappings}, nil
}

// transform runs esbuild's Transform, which, other than its Build, has no file system: imports, source maps and
// configuration files that a script names are not looked for.
func transform(file string, language Language, source []byte) (a *answer, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = status.Errorf(status.Internal, "transforming the script panicked: %v", r)
		}
	}()
	if !utf8.Valid(source) {
		return nil, status.Publicf(status.InvalidArgument, "%s is not valid UTF-8", file)
	}
	loader := api.LoaderJS
	if language == TypeScript {
		loader = api.LoaderTS
	}
	result := api.Transform(string(source), api.TransformOptions{
		Sourcefile: file, Loader: loader, TsconfigRaw: "{}", LogLevel: api.LogLevelSilent, LogLimit: maxErrors,
		Format: api.FormatIIFE, TreeShaking: api.TreeShakingFalse, Target: api.ES2023, Charset: api.CharsetASCII, Sourcemap: api.SourceMapExternal, SourcesContent: api.SourcesContentExclude,
	})
	if len(result.Errors) > 0 {
		return nil, status.Publicf(status.InvalidArgument, "%s", told(file, result.Errors))
	}
	if bytes.IndexByte(result.Code, 0) >= 0 { // the engine reads up to one
		return nil, status.Publicf(status.InvalidArgument, "%s holds a NUL character", file)
	}
	var m struct {
		Mappings string `json:"mappings"`
	}
	if err := json.Unmarshal(result.Map, &m); err != nil {
		return nil, status.Errorf(status.Internal, "transform: source map: %w", err)
	}
	return &answer{Code: result.Code, Mappings: m.Mappings}, nil
}

// told writes errors as compilers do: "tool.ts:3:10: Expected …".
func told(file string, errs []api.Message) string {
	lines := make([]string, 0, maxErrors)
	for _, e := range errs[:min(len(errs), maxErrors)] {
		at := file
		if e.Location != nil {
			at = fmt.Sprintf("%s:%d:%d", file, e.Location.Line, e.Location.Column+1)
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

// Input is the input of a call of [CallExport]: which tool is meant, and its own input, which is JSON.
func Input(tool string, input []byte) []byte {
	return append(append(make([]byte, 0, len(tool)+1+len(input)), tool+"\n"...), input...)
}

// InputOverhead is how much longer an input may be than the tool's own.
const InputOverhead = 65
