package script

import (
	"github.com/evanw/esbuild/pkg/api"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Transform makes JavaScript of one file, without a process of its own and without touching a file system: types are
// taken out and not checked, imports of "genkit" become the prelude's. file is the name in positions. It fails with
// INVALID_ARGUMENT, and the author's line and column, when the text is not of its language.
func Transform(file string, language Language, source []byte) (*Script, error) {
	answer, err := transform(file, language, source)
	if err != nil {
		return nil, err
	}
	return answer.script()
}

// transform runs esbuild's Transform, which, other than its Build, has no file system: imports, source maps and
// configuration files that a script names are not looked for.
func transform(file string, language Language, source []byte) (a *answer, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = status.Errorf(status.Internal, "transforming the script panicked: %v", r)
		}
	}()
	loader := api.LoaderJS
	if language == TypeScript {
		loader = api.LoaderTS
	}
	text, err := sourceText(file, source, loader)
	if err != nil {
		return nil, err
	}
	result := api.Transform(text, api.TransformOptions{
		Sourcefile: file, Loader: loader, TsconfigRaw: "{}", LogLevel: api.LogLevelSilent, LogLimit: maxErrors,
		Format: api.FormatIIFE, TreeShaking: api.TreeShakingFalse, Target: api.ES2023, Charset: api.CharsetASCII, Sourcemap: api.SourceMapExternal, SourcesContent: api.SourcesContentExclude,
	})
	if len(result.Errors) > 0 {
		return nil, invalid(told(file, result.Errors))
	}
	return finished(file, result.Code, result.Map)
}
