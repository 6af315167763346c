package main

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// maxModule bounds a module's file; a server has its own limit.
const maxModule = 256 << 20

// files names what makes up an upload.
type files struct{ module, descriptor, policy string }

func (f *files) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.descriptor, "descriptor", "", "a descriptor `FILE` that takes the place of the module's own")
	cmd.Flags().StringVar(&f.policy, "policy", "", "a policy `FILE`: grants and limits")
}

func (f *files) read() (wasmhost.Upload, error) {
	var up wasmhost.Upload
	var err error
	if up.Wasm, err = readFile(f.module, maxModule); err != nil {
		return up, err
	}
	if up.Descriptor, err = readFile(f.descriptor, abi.MaxDescriptorBytes); err != nil {
		return up, err
	}
	up.Policy, err = readFile(f.policy, policy.MaxBytes)
	return up, err
}

// moduleName is what a module is called that is given no name: what it calls
// itself, else its file's name.
func moduleName(up wasmhost.Upload, file string) (string, error) {
	a, err := wasmhost.Analyse(up.Wasm, up.Descriptor, inspect.Limits{})
	if err == nil && a.Descriptor != nil && a.Descriptor.Name != "" {
		return a.Descriptor.Name, nil
	}
	base := filepath.Base(file)
	name := strings.TrimSuffix(base, filepath.Ext(base))
	if abi.CheckModuleName(name) != nil {
		return "", usagef("the module needs a name: give it one with --name")
	}
	return name, nil
}

func (a *app) uploadCommand() *cobra.Command {
	var f files
	var name string
	cmd := &cobra.Command{
		Use:     "upload FILE",
		Short:   "Put a module on the server",
		Long:    "Upload puts a module into service, or a new revision of it. The old revision serves until the new one has passed every check.",
		Example: "  genkit-wasm upload textkit.wasm\n  genkit-wasm upload count_vowels.wasm --name vowels --descriptor vowels.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.module = args[0]
			up, err := f.read()
			if err != nil {
				return err
			}
			if name == "" {
				if name, err = moduleName(up, f.module); err != nil {
					return err
				}
			}
			return a.upload(cmd, name, up)
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&name, "name", "", "what to call the module (default: what it calls itself)")
	a.tenantFlag(cmd)
	return cmd
}

const showProgressFrom = 1 << 20

func (a *app) upload(cmd *cobra.Command, name string, up wasmhost.Upload) error {
	body, kind, err := uploadBody(up)
	if err != nil {
		return err
	}
	r := request{method: http.MethodPut, path: modulePath(name), body: bytes.NewReader(body), length: int64(len(body)), kind: kind, refusing: true}
	if _, tty := terminal(a.err); tty && len(body) >= showProgressFrom {
		r.body = &progress{Reader: r.body, to: a.err, total: r.length}
		defer a.note("")
	}
	var rec module.Record
	if err := a.record(cmd, r, &rec); err != nil || a.json() {
		return err
	}
	if err := a.line("module %s, revision %d, %s", rec.Name, rec.Revision, size(rec.Size)); err != nil {
		return err
	}
	for _, key := range rec.Actions {
		if err := a.line("  %s", strings.TrimPrefix(key, "/tool/")); err != nil {
			return err
		}
	}
	return nil
}

// uploadBody is the module alone, or a form when more goes with it.
func uploadBody(up wasmhost.Upload) ([]byte, string, error) {
	if up.Descriptor == nil && up.Policy == nil {
		return up.Wasm, "application/wasm", nil
	}
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, part := range []struct {
		name, kind string
		content    []byte
	}{
		{"descriptor", "application/json", up.Descriptor},
		{"policy", "application/json", up.Policy},
		{"module", "application/wasm", up.Wasm},
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
