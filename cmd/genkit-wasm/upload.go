package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/internal/packdir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

// maxModule bounds a module's file; a server has its own limit.
const maxModule = 256 << 20

// files names the files of an upload.
type files struct{ module, descriptor, policy string }

func (f *files) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.descriptor, "descriptor", "", "a descriptor that takes the place of the module's own: `FILE`, @FILE, JSON or -")
	cmd.Flags().StringVar(&f.policy, "policy", "", "a policy, grants and limits: `FILE`, @FILE, JSON or -")
}

// read reads the files that the flags name.
func (f *files) read(a *app) (wasmhost.Upload, error) {
	up, p, err := f.content()
	if err != nil {
		return up, err
	}
	if p != nil && !a.json() {
		a.note("%s", packSummary(p))
	}
	beside, err := f.readBeside(a)
	up.Descriptor, up.Policy = beside.Descriptor, beside.Policy
	return up, err
}

// readBeside reads what comes beside the module.
func (f *files) readBeside(a *app) (up wasmhost.Upload, err error) {
	if up.Descriptor, err = a.document("descriptor", f.descriptor, abi.MaxDescriptorBytes); err != nil {
		return up, err
	}
	up.Policy, err = a.document("policy", f.policy, policy.MaxBytes)
	return up, err
}

// content reads the module, or packs the directory of a script.
func (f *files) content() (up wasmhost.Upload, p *packdir.Package, err error) {
	if packdir.IsDirectory(f.module) {
		if p, err = pack(f.module); err != nil {
			return up, nil, err
		}
		up.Wasm, up.Language = p.Content, script.Package
		return up, p, nil
	}
	up.Wasm, err = readFile(f.module, maxModule)
	up.Language = script.LanguageOf(f.module)
	return up, nil, err
}

// readFiles reads files.
func (f *files) readFiles() (up wasmhost.Upload, err error) {
	if up, _, err = f.content(); err != nil {
		return up, err
	}
	if up.Descriptor, err = readFile(f.descriptor, abi.MaxDescriptorBytes); err != nil {
		return up, err
	}
	up.Policy, err = readFile(f.policy, policy.MaxBytes)
	return up, err
}

// moduleName is the name of a module that is given none: the one of its descriptor,
// else its file's name. A module that can only describe itself by running is asked; a script has its file's name.
func (a *app) moduleName(ctx context.Context, up wasmhost.Upload, file string) (string, error) {
	if up.Language != "" {
		return nameOfFile(file)
	}
	if found, err := a.describe(ctx, up); err == nil && found.Descriptor != nil && found.Descriptor.Name != "" {
		return found.Descriptor.Name, nil
	} else if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return nameOfFile(file)
}

// nameOfFile is the file's name without its ending; of a directory the name in its package.json, else its own.
func nameOfFile(file string) (string, error) {
	name := stem(file)
	if abi.CheckModuleName(name) != nil {
		return "", usagef("the module needs a name: give it one with --name")
	}
	return name, nil
}

func stem(file string) string {
	if packdir.IsDirectory(file) {
		return packdir.Name(file)
	}
	base := filepath.Base(file)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	return strings.TrimSuffix(base, ".tar")
}

// describe analyses a module, and asks it for its descriptor where only it can tell.
func (a *app) describe(ctx context.Context, up wasmhost.Upload) (*wasmhost.Analysis, error) {
	done := a.progress("asking the module what it is")
	defer done()
	return wasmhost.Describe(ctx, up.Wasm, up.Descriptor, a.compiler)
}

func (a *app) uploadCommand() *cobra.Command {
	var f files
	var name string
	var dry bool
	cmd := &cobra.Command{
		Use:   "upload FILE|DIR",
		Short: "Put a module or a script on the server",
		Long: "Upload puts a module, or a script in TypeScript or JavaScript (.ts, .mts, .js, .mjs), into service, or a new revision of it. The old revision serves until the new one has passed every check.\n\n" +
			"A script of several files is a directory, or an archive of one (.tar, .tar.gz, .tgz, .zip). Of a directory goes what a script can import: " +
			"the files that \"files\" in package.json lists, or all, and the packages in node_modules that it depends on; without hidden files, tests and declarations of types. " +
			"It begins in \"genkit\", \"module\" or \"main\" of package.json, or in tool.ts, main.ts or index.ts. --dry-run lists what would go.\n\n" +
			"A new revision keeps the policy of the old one unless --policy gives another; a file with {} takes every grant away.",
		Example: "  genkit-wasm upload textkit.wasm\n  genkit-wasm upload greet.ts\n  genkit-wasm upload ./weather --dry-run\n  genkit-wasm upload count_vowels.wasm --name vowels --descriptor vowels.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.module = args[0]
			if dry {
				if !packdir.IsDirectory(f.module) {
					return usagef("--dry-run lists what a directory holds, and %s is none", f.module)
				}
				p, err := pack(f.module)
				if err != nil {
					return err
				}
				return a.printPacked(p)
			}
			up, err := f.read(a)
			if err != nil {
				return err
			}
			if name == "" {
				if name, err = a.moduleName(cmd.Context(), up, f.module); err != nil {
					return err
				}
			}
			return a.upload(cmd, name, up)
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "list what a directory would be uploaded with, and send nothing")
	cmd.Flags().StringVar(&name, "name", "", "the name of the module (default: the one in its descriptor; of a script its file's, of a directory that of its package.json)")
	a.serverFlags(cmd)
	return cmd
}

func (a *app) upload(cmd *cobra.Command, name string, up wasmhost.Upload) error {
	body, kind, err := uploadBody(up)
	if err != nil {
		return err
	}
	sending := &progress{Reader: bytes.NewReader(body), app: a, total: int64(len(body))}
	r := request{method: http.MethodPut, path: modulePath(name), body: sending, length: int64(len(body)), kind: kind, refusing: true}
	resp, err := a.send(cmd.Context(), r)
	sending.end()
	if err != nil {
		return err
	}
	raw, err := readAnswer(resp)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(raw)
	}
	var rec module.Record
	if err := json.Unmarshal(raw, &rec); err != nil {
		return fmt.Errorf("the server's answer is not a module's record: %w", err)
	}
	unchanged := ""
	if resp.StatusCode == http.StatusOK { // a new revision is 201
		unchanged = ", unchanged"
	}
	if err := a.line("module %s, revision %d, %s%s", rec.Name, rec.Revision, size(rec.Size), unchanged); err != nil {
		return err
	}
	for _, key := range slices.Concat(rec.Actions, rec.Values) {
		if strings.HasPrefix(key, "/executable-prompt/") { // it stands there as a prompt, too
			continue
		}
		if err := a.line("  %s", offer(key)); err != nil {
			return err
		}
	}
	if up.Policy == nil && len(rec.Policy) > 0 && unchanged == "" {
		return a.line("  policy kept: %s", policySummary(rec.Policy))
	}
	return nil
}

// offer writes a key for people: "calc/add" for a tool, "middleware guard/redact" for
// anything else.
func offer(key string) string {
	kind, name, _ := strings.Cut(strings.TrimPrefix(key, "/"), "/")
	if kind == "tool" || kind == "tool.v2" {
		return name
	}
	return kind + " " + name
}

// policySummary lists the grants and limits of a policy: "http, kv; limits timeoutMs".
func policySummary(raw json.RawMessage) string {
	var p struct {
		Grants map[string]json.RawMessage `json:"grants"`
		Limits map[string]json.RawMessage `json:"limits"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &p) != nil {
		return "-"
	}
	grants := slices.Sorted(maps.Keys(p.Grants))
	text := cmp.Or(strings.Join(grants, ", "), "no grants")
	if limits := slices.Sorted(maps.Keys(p.Limits)); len(limits) > 0 {
		text += "; limits " + strings.Join(limits, ", ")
	}
	return text
}

func mediaTypeOf(up wasmhost.Upload) string {
	if up.Language == script.Package {
		switch {
		case bytes.HasPrefix(up.Wasm, []byte("PK")):
			return "application/zip"
		case bytes.HasPrefix(up.Wasm, []byte("\x1f\x8b")):
			return "application/gzip"
		}
		return "application/x-tar"
	}
	if up.Language != "" {
		return "text/" + string(up.Language)
	}
	return "application/wasm"
}

// uploadBody is the module alone, or a form when more goes with it.
func uploadBody(up wasmhost.Upload) ([]byte, string, error) {
	if up.Descriptor == nil && up.Policy == nil {
		return up.Wasm, mediaTypeOf(up), nil
	}
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, part := range []struct {
		name, kind string
		content    []byte
	}{
		{"descriptor", "application/json", up.Descriptor},
		{"policy", "application/json", up.Policy},
		{"module", mediaTypeOf(up), up.Wasm},
	} {
		if part.content == nil {
			continue
		}
		w, err := form.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {fmt.Sprintf("form-data; name=%q; filename=%q", part.name, part.name)},
			"Content-Type":        {part.kind},
		})
		if err == nil {
			_, err = w.Write(part.content)
		}
		if err != nil {
			return nil, "", err
		}
	}
	if err := form.Close(); err != nil {
		return nil, "", err
	}
	return b.Bytes(), form.FormDataContentType(), nil
}
