package script

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"

	"github.com/evanw/esbuild/pkg/api"
)

// Esbuild's Build can read the file system, which is closed to it three times: every import is answered by a plugin out
// of the archive, as is every load; no module has a directory; and the process that bundles has given up the right to open
// files before it begins, see [seal].

// entryImport is what the file imports that esbuild begins with.
const entryImport = "genkit-wasm:entry"

// loaders are those of the files that an import may name.
var loaders = map[string]api.Loader{
	".ts": api.LoaderTS, ".mts": api.LoaderTS, ".cts": api.LoaderTS, ".tsx": api.LoaderTSX,
	".js": api.LoaderJS, ".mjs": api.LoaderJS, ".cjs": api.LoaderJS, ".jsx": api.LoaderJSX, ".json": api.LoaderJSON,
}

// bundler makes one text of the files of an archive.
type bundler struct {
	mu       sync.Mutex // esbuild asks for several files at a time
	resolver *resolver
	entry    string
	bytes    int               // of the files that were loaded
	whys     map[string]string // by import: why it stands for nothing
}

// bundle reads an archive and makes one script of what its entry reaches.
func bundle(archive []byte) (*answer, error) {
	t, err := readArchive(archive)
	if err != nil {
		return nil, err
	}
	b := &bundler{resolver: newResolver(t), whys: map[string]string{}}
	if b.entry, err = b.resolver.entry(); err != nil {
		return nil, invalid(why(err))
	}
	result := api.Build(api.BuildOptions{
		Stdin:  &api.StdinOptions{Contents: `import "` + entryImport + `"`, Sourcefile: "<entry>", Loader: api.LoaderJS},
		Bundle: true, Outfile: "script.js", Format: api.FormatIIFE, Platform: api.PlatformNeutral, Target: api.ES2023, Charset: api.CharsetASCII,
		Sourcemap: api.SourceMapExternal, SourcesContent: api.SourcesContentExclude, TsconfigRaw: "{}", LegalComments: api.LegalCommentsNone,
		Define:   map[string]string{"process.env.NODE_ENV": `"production"`},
		LogLevel: api.LogLevelSilent, LogLimit: maxErrors,
		Plugins: []api.Plugin{{Name: namespace, Setup: func(p api.PluginBuild) {
			p.OnResolve(api.OnResolveOptions{Filter: ".*"}, b.resolve)
			p.OnLoad(api.OnLoadOptions{Filter: ".*"}, b.load)
		}}},
	})
	if len(result.Errors) > 0 {
		return nil, invalid(b.told(result.Errors))
	}
	for _, w := range result.Warnings {
		if w.ID == "empty-glob" { // of an import whose name is computed, among files that are none of the archive's
			w.Text = errComputed.Error()
			return nil, invalid(b.told([]api.Message{w}))
		}
	}
	var code, sourceMap []byte
	for _, f := range result.OutputFiles {
		switch path.Ext(f.Path) {
		case ".js":
			code = f.Contents
		case ".map":
			sourceMap = f.Contents
		}
	}
	return finished("the package", code, sourceMap)
}

// resolve answers every import. An empty answer leaves it to esbuild, which has no directory to look in: it refuses
// the import, unless the script is prepared for that by try and catch.
func (b *bundler) resolve(args api.OnResolveArgs) (api.OnResolveResult, error) {
	if args.Path == entryImport && args.Namespace != namespace {
		return api.OnResolveResult{Path: b.entry, Namespace: namespace}, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	found, err := b.resolver.resolve(args.Path, args.Importer, args.Kind == api.ResolveJSRequireCall || args.Kind == api.ResolveJSRequireResolve)
	if err != nil {
		if strings.ContainsAny(args.Path, ":\\\x00") || strings.HasPrefix(args.Path, "/") || args.Path == "" {
			return api.OnResolveResult{}, errors.New(why(err)) // esbuild would know what to do with a URL
		}
		b.whys[args.Path] = why(err)
		return api.OnResolveResult{}, nil
	}
	switch found.genre {
	case isPrelude:
		return api.OnResolveResult{Path: "genkit", External: true}, nil
	case isEmpty:
		return api.OnResolveResult{Path: args.Path, Namespace: emptyNamespace}, nil
	}
	r := api.OnResolveResult{Path: found.file, Namespace: namespace}
	if found.pure {
		r.SideEffects = api.SideEffectsFalse
	}
	return r, nil
}

// emptyNamespace has modules that a package replaces with nothing.
const emptyNamespace = "empty"

// load answers every load.
func (b *bundler) load(args api.OnLoadArgs) (api.OnLoadResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	content, ok := b.resolver.tree.files[args.Path]
	loader, known := loaders[path.Ext(args.Path)]
	switch {
	case args.Namespace == emptyNamespace:
		return api.OnLoadResult{Contents: new(string), Loader: api.LoaderJS}, nil
	case args.Namespace != namespace || !ok: // an import of a pattern is none that resolve was asked for
		return api.OnLoadResult{}, errComputed
	case !known || strings.HasSuffix(args.Path, ".d.ts"):
		return api.OnLoadResult{}, fmt.Errorf("%s is of a kind that a script can't import: .ts, .tsx, .mts, .cts, .js, .jsx, .mjs, .cjs and .json are known", args.Path)
	}
	if b.bytes += len(content); b.bytes > maxBundledBytes {
		return api.OnLoadResult{}, fmt.Errorf("the files that the script imports have more than %d bytes; import the parts of a package that it needs", maxBundledBytes)
	}
	text, err := sourceText(args.Path, content, loader)
	if err != nil {
		return api.OnLoadResult{}, err
	}
	return api.OnLoadResult{Contents: &text, Loader: loader}, nil
}

var errComputed = errors.New("an import whose name is computed is not supported: the files of an upload are put together when it arrives")

// told writes esbuild's errors with the reasons that resolve has given.
func (b *bundler) told(errs []api.Message) string {
	for i := range errs {
		e := &errs[i]
		if e.Location != nil {
			e.Location.File = strings.TrimPrefix(e.Location.File, namespace+":")
		}
		name, unresolved := strings.CutPrefix(e.Text, "Could not resolve ")
		if !unresolved {
			continue
		}
		if why := b.whys[strings.Trim(name, `"`)]; why != "" {
			e.Text = why
		} else {
			e.Text = errComputed.Error()
		}
	}
	return told("package", errs)
}
