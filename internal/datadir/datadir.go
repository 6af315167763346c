// Package datadir knows what a server keeps in its data directory: the names of its parts, and how to look whether all of
// them are whole. A running server opens its stores itself.
//
//	damage, found, err := datadir.Inspect(ctx, "./data")
//	// found: "2 tenants", "1 keys", …
package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// The names in a data directory. All but the cache and the key of code, which are made anew, is in a backup.
const (
	Audit   = "audit"
	Keys    = "keys"
	Values  = "kv"
	Modules = "modules"
	Secrets = "secrets"
	Tenants = "tenants"
	Usage   = "usage"
	Cache   = "cache"
	// CodeKey is a file. Who has it can read and write what code of models had done, so it stays where it is.
	CodeKey = "code.key"
)

// legacyValues is the file by whose name the store of values finds its directory, and an earlier version's values.
const legacyValues = "kv.db"

// LegacyValues are the files of an earlier version's values.
func LegacyValues() []string {
	return []string{legacyValues, legacyValues + ".migrated", legacyValues + ".damaged"}
}

// Parts are the names of all that is backed up.
func Parts() []string {
	return append([]string{Audit, Keys, Values, Modules, Secrets, Tenants, Usage}, LegacyValues()...)
}

// CheckLinks fails with FAILED_PRECONDITION where a part of a data directory is a symbolic link: backups follow none, so that
// a server with such a part could not be backed up. The data directory itself may be one. A part that is not there is none.
func CheckLinks(dir string) error {
	for _, part := range Parts() {
		info, err := os.Lstat(filepath.Join(dir, part))
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return status.Publicf(status.FailedPrecondition, "%q is a symbolic link, which backups do not follow: make the data directory itself the link, or mount the volume at %q", filepath.Join(dir, part), part)
		}
	}
	return nil
}

// Holds returns the name of a part of a data directory, other than the audit log, that has a file, and an empty text where none
// has: then the directory is new. Locks and what an interrupted write has left do not count. It fails with UNAVAILABLE where a
// part can't be read.
func Holds(dir string) (string, error) {
	for _, part := range Parts() {
		if part == Audit {
			continue
		}
		holds := false
		err := filepath.WalkDir(filepath.Join(dir, part), func(_ string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return err
			case strings.HasPrefix(d.Name(), storedir.TemporaryPrefix) && d.IsDir():
				return fs.SkipDir
			case d.IsDir(), d.Name() == storedir.LockName, strings.HasPrefix(d.Name(), storedir.TemporaryPrefix):
				return nil
			}
			holds = true
			return fs.SkipAll
		})
		if err != nil {
			return "", status.Errorf(status.Unavailable, "look into the data directory: %w", err)
		}
		if holds {
			return part, nil
		}
	}
	return "", nil
}

// Inspect opens the stores of a data directory that no server has, and tells what is damaged
// and what is there, each in words. What stores put right when they are opened is put right. It fails where a store can't
// be read, and also where a server has it.
func Inspect(ctx context.Context, dir string) (damage, found []string, err error) {
	for _, look := range []func(context.Context, string) ([]string, string, error){inspectAudit, inspectTenants, inspectKeys, inspectModules, inspectValues, inspectSecrets, inspectUsage} {
		bad, text, err := look(ctx, dir)
		if err != nil && !errors.Is(err, status.ErrDataLoss) {
			return damage, found, err
		}
		if err != nil {
			bad = append(bad, message(err))
		}
		damage = append(damage, bad...)
		if text != "" {
			found = append(found, text)
		}
	}
	return damage, found, nil
}

// missing reports whether a data directory lacks a part.
func missing(dir, part string) bool {
	_, err := os.Stat(filepath.Join(dir, part))
	return errors.Is(err, fs.ErrNotExist)
}

func inspectAudit(_ context.Context, dir string) ([]string, string, error) {
	if missing(dir, Audit) {
		return nil, "", nil
	}
	report, err := audit.Verify(filepath.Join(dir, Audit), "")
	if err != nil {
		return []string{"the audit log: " + message(err)}, "", nil
	}
	return nil, fmt.Sprintf("%d entries of the audit log", report.Entries), nil
}

func inspectTenants(ctx context.Context, dir string) (damage []string, text string, err error) {
	if missing(dir, Tenants) {
		return nil, "", nil
	}
	store, err := admin.OpenDir(filepath.Join(dir, Tenants))
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	tenants := 0
	for _, kind := range store.Kinds() {
		docs, err := store.List(ctx, kind)
		if err != nil {
			return nil, "", err
		}
		for _, d := range docs {
			if d.Problem != nil {
				damage = append(damage, message(d.Problem))
			}
		}
		if kind == admin.TenantKind {
			tenants = len(docs)
		}
	}
	return damage, fmt.Sprintf("%d tenants", tenants), nil
}

func inspectKeys(ctx context.Context, dir string) (damage []string, text string, err error) {
	if missing(dir, Keys) {
		return nil, "", nil
	}
	store, err := access.OpenDir(filepath.Join(dir, Keys))
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	n := 0
	err = store.Load(ctx, func(id string, _ []byte, bad error) error {
		if bad != nil {
			damage = append(damage, message(bad))
		}
		if id != access.UsesID && id != access.SettledID {
			n++
		}
		return nil
	})
	return damage, fmt.Sprintf("%d keys", n), err
}

func inspectModules(ctx context.Context, dir string) (damage []string, text string, err error) {
	if missing(dir, Modules) {
		return nil, "", nil
	}
	store, err := module.OpenDir(filepath.Join(dir, Modules))
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for tenant := range store.Damaged() {
		damage = append(damage, fmt.Sprintf("the modules of tenant %q", tenant))
	}
	records, err := store.Current(ctx)
	if err != nil {
		return nil, "", err
	}
	seen := map[string]bool{}
	for _, current := range records {
		if current.Problem != "" {
			damage = append(damage, fmt.Sprintf("module %q of tenant %q: %s", current.Name, current.Tenant, current.Problem))
			continue
		}
		all, err := store.Versions(ctx, current.Tenant, current.Name)
		if err != nil {
			return nil, "", err
		}
		for _, rec := range all {
			where := fmt.Sprintf("revision %d of module %q of tenant %q", rec.Revision, rec.Name, rec.Tenant)
			if rec.Problem != "" {
				damage = append(damage, where+": "+rec.Problem)
				continue
			}
			if seen[rec.Digest] {
				continue
			}
			seen[rec.Digest] = true
			if _, err := store.Wasm(ctx, rec.Digest); errors.Is(err, status.ErrDataLoss) {
				damage = append(damage, where+": "+message(err))
			} else if err != nil {
				return nil, "", err
			}
		}
	}
	return damage, fmt.Sprintf("%d modules", len(records)), nil
}

func inspectValues(ctx context.Context, dir string) (damage []string, text string, err error) {
	if missing(dir, Values) && missing(dir, legacyValues) {
		return nil, "", nil
	}
	store, err := kv.Open(filepath.Join(dir, legacyValues), nil)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	spaces, err := store.Namespaces(ctx)
	if err != nil {
		return nil, "", err
	}
	var tenants []string
	keys := int64(0)
	for _, ns := range spaces {
		if slices.Contains(tenants, ns.Tenant) {
			continue
		}
		tenants = append(tenants, ns.Tenant)
		report := store.Report(ns.Tenant)
		keys += report.Keys
		for _, name := range report.Damaged {
			damage = append(damage, fmt.Sprintf("the values of module %q of tenant %q", name, ns.Tenant))
		}
	}
	return damage, fmt.Sprintf("%d values", keys), nil
}

func inspectSecrets(ctx context.Context, dir string) (damage []string, text string, err error) {
	if missing(dir, Secrets) {
		return nil, "", nil
	}
	store, err := secrets.Open(ctx, secrets.Config{
		Path: filepath.Join(dir, Secrets), TenantID: func(string) (string, error) { return "", nil },
	})
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	stored, bad := store.Found()
	if bad > 0 {
		damage = append(damage, fmt.Sprintf("%d secrets", bad))
	}
	return damage, fmt.Sprintf("%d secrets", stored), nil
}

func inspectUsage(ctx context.Context, dir string) (damage []string, text string, err error) {
	if missing(dir, Usage) {
		return nil, "", nil
	}
	book, err := usage.Open(usage.Config{Dir: filepath.Join(dir, Usage)})
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, book.Close()) }()
	now := time.Now()
	report, err := book.Report(ctx, usage.Query{Since: now.AddDate(0, 0, -399), Until: now})
	if err != nil {
		return nil, "", err
	}
	if report.Damaged > 0 {
		damage = append(damage, fmt.Sprintf("%d lines of the usage", report.Damaged))
	}
	return damage, fmt.Sprintf("%d calls in the accounts", report.Total.Calls), nil
}

func message(err error) string { return status.Convert(err).Message }
