package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/datadir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/backup"
)

// backups makes the maker of a running server's backups.
func (b *backend) backups(g *guards, changes *audit.Log) (*backup.Maker, error) {
	c := backup.Config{Dir: b.data, Version: buildVersion(), Flush: func(ctx context.Context) error {
		b.tenants.Flush(ctx) // what was spent; the accounts of the usage have it, too
		return b.book.Flush()
	}}
	keys := backup.Part{Name: datadir.Keys}
	if g != nil {
		keys.Store = g.store
	}
	c.Parts = []backup.Part{
		{Name: datadir.Audit, Store: changes, Journals: true},
		keys,
		{Name: datadir.Values, Store: b.values, Journals: true},
		{Name: datadir.Modules, Store: b.store},
		{Name: datadir.Secrets, Store: b.secrets},
		{Name: datadir.Tenants, Store: b.resources},
		{Name: datadir.Usage, Store: b.book},
	}
	for _, name := range datadir.LegacyValues() {
		c.Parts = append(c.Parts, backup.Part{Name: name})
	}
	return backup.New(c)
}

func (a *app) backupCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Back up all that a server keeps, while it runs", Args: cobra.ExactArgs(1),
		Long: "Backup writes an archive of a server's data directory as it is at one moment: tenants, keys, modules, values, secrets, usage and the audit log. " +
			"The server goes on meanwhile. All that it has acknowledged before is in the archive. It needs the scope admin. FILE must not be there; - is the standard output.\n\n" +
			"  genkit-wasm backup backup.tar\n" +
			"  genkit-wasm backup backup.tar --data ./data      # of a server that is stopped\n" +
			"  genkit-wasm backup - | zstd > backup.tar.zst\n\n" +
			"Secrets are in it as they are encrypted: keep their key elsewhere. What guests have stored is in it as it is. " +
			"The archive is checked while it is written: the SHA-256 of each file, the digests of the modules and the chain of the audit log. \"genkit-wasm restore\" reads it, also with --dry-run.",
		RunE: func(cmd *cobra.Command, args []string) error { return a.backup(cmd.Context(), args[0], data) },
	}
	cmd.Flags().StringVar(&data, "data", "", "back up this data `DIRECTORY`, whose server is stopped")
	a.serverFlags(cmd)
	return cmd
}

func (a *app) backup(ctx context.Context, file, data string) error {
	if _, err := os.Lstat(file); file != "-" && !errors.Is(err, fs.ErrNotExist) {
		return usagef("%q is there: a backup does not replace a file", file)
	}
	in, err := a.openBackup(ctx, data)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // all of it was read, or there is an error already
	if file == "-" {
		return a.checked(&received{Reader: io.TeeReader(in, a.out), app: a, doing: "backing up"}, nil)
	}
	out, err := os.CreateTemp(filepath.Dir(file), ".genkit-wasm-backup-*")
	if err != nil {
		return usage(err)
	}
	err = a.checked(&received{Reader: io.TeeReader(in, out), app: a, doing: "backing up"}, func(text string) error {
		if err := errors.Join(out.Sync(), out.Close()); err != nil {
			return err
		}
		if err := os.Link(out.Name(), file); errors.Is(err, fs.ErrExist) {
			return usagef("%q is there: a backup does not replace a file", file)
		} else if err != nil { // a file system without links
			if err := os.Rename(out.Name(), file); err != nil {
				return err
			}
		}
		return a.line("%s: %s", file, text)
	})
	_ = out.Close() // twice where it worked
	if failed := os.Remove(out.Name()); failed != nil && !errors.Is(failed, fs.ErrNotExist) {
		err = errors.Join(err, failed)
	}
	return err
}

// openBackup begins an archive: of the server, or of a directory that no server has.
func (a *app) openBackup(ctx context.Context, data string) (io.ReadCloser, error) {
	if data == "" {
		resp, err := a.send(ctx, request{method: http.MethodGet, path: "/backup", server: true, accept: "application/x-tar"})
		if err != nil {
			return nil, err
		}
		return resp.Body, nil
	}
	if _, err := os.Stat(data); err != nil {
		return nil, usagef("--data: %w", err)
	}
	if err := errors.Join(backup.CheckFinished(data), datadir.CheckLinks(data)); err != nil {
		return nil, local(err, false)
	}
	c := backup.Config{Dir: data, Version: buildVersion(), Still: true}
	for _, name := range datadir.Parts() {
		c.Parts = append(c.Parts, backup.Part{Name: name})
	}
	maker, err := backup.New(c)
	if err != nil {
		return nil, local(err, false)
	}
	snapshot, err := maker.Begin(ctx)
	if err != nil {
		return nil, local(err, false)
	}
	if snapshot.Info.Files == 0 {
		return nil, errors.Join(usagef("--data: %q has nothing of a server", data), snapshot.Close())
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := snapshot.WriteTo(ctx, w)
		_ = w.CloseWithError(err) // which always succeeds
		done <- snapshot.Close()
	}()
	return &offline{r, done}, nil
}

// offline is an archive that this process writes.
type offline struct {
	*io.PipeReader
	done chan error
}

func (o *offline) Close() error { return errors.Join(o.PipeReader.Close(), <-o.done) }

// received counts an archive's bytes as they come.
type received struct {
	io.Reader
	app   *app
	doing string
	bytes int64
	shown time.Time
}

func (r *received) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.bytes += int64(n)
	now := time.Now()
	if r.shown.IsZero() {
		r.shown = now.Add(showAfter)
	}
	if now.Sub(r.shown) > 100*time.Millisecond {
		r.shown = now
		r.app.status(fmt.Sprintf("%s, %s", r.doing, size(int(r.bytes))))
	}
	return n, err
}

// checked reads an archive and checks what can be checked on the way: its hashes, the digests of
// the modules and, from copies of its files, the audit log. then is called with a text about it.
func (a *app) checked(in *received, then func(text string) error) (err error) {
	defer a.status("")
	temporary, err := os.MkdirTemp("", "genkit-wasm-backup-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	info, err := backup.Read(in, datadir.Parts(), func(f *backup.File) error {
		if name, ok := strings.CutPrefix(f.Name, datadir.Audit+"/"); ok {
			return copyTo(filepath.Join(temporary, filepath.Base(name)), f)
		}
		return a.checkDigest(f)
	})
	if err != nil {
		if errors.Is(err, status.ErrDataLoss) {
			return &failure{exit: exitFailed, code: status.DataLoss.String(), text: "the backup did not come whole: " + messageOf(err), cause: err, hint: "the server's log may say why; try again"}
		}
		return local(err, false)
	}
	text := fmt.Sprintf("%d files, %s, of %s", info.Files, size(int(info.Bytes)), info.CreatedAt.Local().Format("2006-01-02 15:04:05"))
	switch report, err := audit.Verify(temporary, ""); {
	case errors.Is(err, status.ErrNotFound):
	case err != nil:
		a.note("%s the server's audit log is damaged, and with it the backup: %s", colour(a.err, yellow, "warning:"), messageOf(err))
	default:
		text += fmt.Sprintf("; the audit log ends with entry %d, %s", report.Head.Seq, report.Head.Hash)
	}
	if info.Skipped > 0 {
		a.note("%s %d entries of the data directory are no files of the server's, and are not in the backup", colour(a.err, yellow, "warning:"), info.Skipped)
	}
	if then == nil {
		return nil
	}
	return then(text)
}

func copyTo(path string, r io.Reader) (err error) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Close())
}

// checkDigest tells of a module whose bytes are damaged where they are stored.
func (a *app) checkDigest(f *backup.File) error {
	digest, ok := strings.CutPrefix(f.Name, datadir.Modules+"/blobs/")
	digest, isModule := strings.CutSuffix(digest, ".wasm")
	if !ok || !isModule {
		return nil
	}
	if _, err := io.Copy(io.Discard, f); err != nil {
		return err
	}
	if sum := f.Sum(); hex.EncodeToString(sum[:]) != digest {
		a.note("%s the bytes of the module sha256:%s are damaged where the server has them, and with them the backup", colour(a.err, yellow, "warning:"), digest)
	}
	return nil
}

func (a *app) restoreCommand() *cobra.Command {
	var data string
	var dryRun, acceptDamage bool
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Restore a backup into an empty data directory", Args: cobra.ExactArgs(1),
		Long: "Restore reads what \"genkit-wasm backup\" has written into a data directory that is empty or not there, and checks it: the SHA-256 of each file, the chain of the audit log, the digests of the modules, and what each store keeps. " +
			"The directory gets all of it or nothing. Then start the server on it, with the key of the secrets that the old one had. FILE may be -, the standard input.\n\n" +
			"  genkit-wasm restore backup.tar --data ./data --dry-run\n" +
			"  genkit-wasm restore backup.tar --data ./data\n\n" +
			"The compiled code is not in a backup: the first start takes longer.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.restore(cmd.Context(), args[0], data, dryRun, acceptDamage)
		},
	}
	cmd.Flags().StringVar(&data, "data", "./data", "the data `DIRECTORY`")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check the archive and whether the directory is empty, and leave it as it is")
	cmd.Flags().BoolVar(&acceptDamage, "accept-damage", false, "restore also what was damaged in the server's directory when the backup was made; the archive itself must be whole")
	return cmd
}

func (a *app) restore(ctx context.Context, file, data string, dryRun, acceptDamage bool) error {
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return usage(err)
		}
		defer func() { _ = f.Close() }() // it is only read
		in = f
	}
	var found []string
	target := backup.Target{Parts: datadir.Parts(), DryRun: dryRun, Check: func(ctx context.Context, dir string) error {
		defer a.progress("checking what was restored")()
		damage, text, err := datadir.Inspect(ctx, dir)
		found = text
		if err != nil || len(damage) == 0 {
			return err
		}
		for _, d := range damage {
			a.note("%s %s", colour(a.err, yellow, "damaged:"), d)
		}
		if acceptDamage {
			return nil
		}
		return &failure{exit: exitFailed, code: status.DataLoss.String(), text: "the backup has what was damaged when it was made, as told above; nothing was restored", hint: "--accept-damage restores it all the same"}
	}}
	info, err := backup.Restore(ctx, &received{Reader: in, app: a, doing: "restoring"}, data, target)
	a.status("")
	if err != nil {
		return local(err, false)
	}
	if a.json() {
		return a.printJSON(map[string]any{"data": data, "dryRun": dryRun, "createdAt": info.CreatedAt, "server": info.Server, "files": info.Files, "bytes": info.Bytes, "found": found})
	}
	did := "restored into " + data
	if dryRun {
		did = "would be restored into " + data
	}
	return a.line("%d files, %s, of %s: %s; %s", info.Files, size(int(info.Bytes)), info.CreatedAt.Local().Format("2006-01-02 15:04:05"), strings.Join(found, ", "), did)
}
