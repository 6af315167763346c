package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/datadir"
	"github.com/genkit-wasm/genkit-wasm/internal/settings"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/backup"
)

func auditDir(data string) string { return filepath.Join(data, datadir.Audit) }

// byServer is who does what nobody has asked for over the API.
const byServer = "server"

// openAudit opens the audit log of a data directory, and notes that a server starts.
func openAudit(data string, days int, set []settings.Setting, log *slog.Logger) (*audit.Log, error) {
	if err := backup.CheckFinished(data); err != nil {
		return nil, local(err, false)
	}
	l, err := audit.Open(auditDir(data), audit.Config{Logger: log, Keep: time.Duration(days) * 24 * time.Hour})
	if errors.Is(err, status.ErrDataLoss) {
		return nil, &failure{exit: exitFailed, cause: err, text: messageOf(err), hint: "look at it with \"genkit-wasm audit verify\", and set what is damaged aside with \"genkit-wasm audit repair\", which the log then tells"}
	}
	if err != nil {
		return nil, local(err, false)
	}
	if err := backup.CheckFinished(data); err != nil { // again: a restore that begins now finds our directory
		return nil, errors.Join(local(err, false), l.Close())
	}
	part, err := lostLog(l, data)
	if err != nil {
		return nil, errors.Join(local(err, false), l.Close())
	}
	if part != "" {
		log.Error(noLog, slog.String("part", part))
	}
	if err := note(l, "serverStart", ""); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	for _, on := range auditedSettings(set) {
		if err := note(l, "setting", on); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

const noLog = "the data directory is not new and has no audit log: the one that was there was removed, and a new one begins at entry 1"

// lostLog returns the name of a part of the data directory that holds files where the audit log, which was just opened, has no
// entry: then [noLog] is to be told. Else it is empty.
func lostLog(l *audit.Log, data string) (string, error) {
	if l.Head().Seq != 0 {
		return "", nil
	}
	return datadir.Holds(data)
}

// shownSettings are those whose values stand in the audit log: they say what tenants and modules there are, what they may
// and who may call. Values of others may have what is nobody's business, such as a password in a URL, so
// that only their names do.
var shownSettings = []string{
	"addr", "allow-network", "allowed-host", "audit-days", "auth", "default-model", "generate-limits", "grants", "isolation", "isolation-group",
	"limits", "load", "memory", "plain-http-beyond-loopback", "quota", "slots", "tenant", "tenant-quota", "trusted-origin", "trusted-proxy", "usage-days",
}

// auditedSettings are the settings of a start that are not the defaults, as the audit log has them. Each value of a list is one.
func auditedSettings(set []settings.Setting) []string {
	var all []string
	for _, s := range set {
		switch {
		case s.From == "default":
		case !slices.Contains(shownSettings, s.Name):
			all = append(all, "--"+s.Name)
		default:
			for _, value := range s.Value {
				all = append(all, "--"+s.Name+"="+value)
			}
		}
	}
	return all
}

// endAudit notes that the server has stopped, and closes the log.
func endAudit(l *audit.Log) error {
	if l == nil {
		return nil
	}
	return errors.Join(note(l, "serverStop", ""), l.Close())
}

func note(l *audit.Log, what, on string) error {
	_, err := l.Append(audit.Entry{Who: byServer, What: what, On: on, Result: "OK"})
	return local(err, false)
}

func (a *app) auditCommand() *cobra.Command {
	var since, who, what string
	limit := 100
	cmd := &cobra.Command{
		Use: "audit", Short: "List a server's audit log, and verify it", Args: cobra.NoArgs,
		Long: "Audit lists who changed what, from where and with which result, the oldest of the last --limit entries first. It needs the scope admin.\n\n" +
			"  genkit-wasm audit --since 24h --what putModule\n\n" +
			"A change has two entries: \"begun\" before it is made, and its result. Failed attempts to sign in are counted. \"genkit-wasm audit verify\" checks that no entry was changed, removed or moved.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			for name, value := range map[string]string{"who": who, "what": what} {
				if value != "" {
					query.Set(name, value)
				}
			}
			at, err := past(since, time.Now())
			if err != nil {
				return err
			}
			if !at.IsZero() {
				query.Set("since", at.Format(time.RFC3339))
			}
			entries, err := a.auditEntries(cmd, query, limit)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]any{"entries": entries})
			}
			rows := make([][]string, len(entries))
			for i, e := range entries {
				result := abi.Line(e.Result, 64)
				if e.Count > 1 {
					result += " (" + strconv.Itoa(e.Count) + " times)"
				}
				rows[i] = []string{strconv.FormatUint(e.Seq, 10), e.At.Local().Format("2006-01-02 15:04:05"), orDash(abi.Line(e.Who, 256)), orDash(abi.Line(e.From, 64)), abi.Line(e.What, 64), orDash(abi.Line(e.On, 512)), result}
			}
			return a.table("SEQ\tTIME\tWHO\tFROM\tWHAT\tON\tRESULT", rows)
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "only entries `SINCE` then: 24h, 7d or 2030-01-31T12:00:00Z")
	cmd.Flags().StringVar(&who, "who", "", "only entries of this `SUBJECT`, such as key:ID")
	cmd.Flags().StringVar(&what, "what", "", "only entries of this `OPERATION`, such as putModule or signIn")
	wholeFlag(cmd.Flags(), &limit, "limit", 1, 1_000_000, "how many entries at most, the newest")
	completeFlag(cmd, "who", a.audited(func(e *audit.Entry) string { return e.Who }))
	completeFlag(cmd, "what", a.audited(func(e *audit.Entry) string { return e.What }))
	a.serverFlags(cmd)
	cmd.AddCommand(a.auditVerifyCommand(), a.auditRepairCommand())
	for _, c := range cmd.Commands() {
		c.Args = a.usageArgs(c.Args)
	}
	return cmd
}

// past reads a time, or how long ago it was.
func past(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	d, err := span(text)
	if err != nil || d < 0 {
		return time.Time{}, usagef("--since is %q, want a time such as 24h, 7d or 2030-01-31T12:00:00Z", text)
	}
	return now.Add(-d).UTC(), nil
}

// auditEntries reads the newest entries, and returns the oldest of them first.
func (a *app) auditEntries(cmd *cobra.Command, query url.Values, limit int) ([]audit.Entry, error) {
	var newest []audit.Entry
	for len(newest) < limit {
		query.Set("limit", strconv.Itoa(min(limit-len(newest), 1000)))
		raw, err := a.call(cmd.Context(), request{method: http.MethodGet, path: "/audit", server: true, query: query})
		if err != nil {
			return nil, err
		}
		var page struct {
			Entries []audit.Entry `json:"entries"`
			Cursor  string        `json:"cursor"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return nil, fmt.Errorf("the server's answer is no audit log: %w", err)
		}
		newest = append(newest, page.Entries...)
		if page.Cursor == "" || page.Cursor == query.Get("cursor") {
			break
		}
		query.Set("cursor", page.Cursor)
	}
	oldest := make([]audit.Entry, len(newest))
	for i, e := range newest {
		oldest[len(newest)-1-i] = e
	}
	return oldest, nil
}

func (a *app) auditVerifyCommand() *cobra.Command {
	var data, known string
	var moved bool
	cmd := &cobra.Command{
		Use: "verify", Short: "Check that no entry of the audit log was changed, removed or moved", Args: cobra.NoArgs,
		Long: "Verify reads the audit log of a data directory, also while its server runs, and prints the hash of its last entry. Keep that hash in another place: " +
			"with --known it finds whether the end of the log was cut off since.\n\n" +
			"  genkit-wasm audit verify --data ./data --known 9f86d081884c7d65…\n\n" +
			"The exit code is 1 when something is wrong.",
		RunE: func(_ *cobra.Command, _ []string) error {
			if _, err := os.Stat(data); err != nil {
				return usagef("--data: %w", err)
			}
			report, err := audit.Verify(auditDir(data), known)
			if err == nil && report.Unexplained > 0 && !moved {
				return &failure{
					exit: exitFailed, text: fmt.Sprintf("the audit log is not whole: it begins with entry %d, and no entry says that those before were removed", report.First),
					hint: "where you have moved their files away, say so with --moved",
				}
			}
			if err != nil {
				return &failure{exit: exitFailed, text: "the audit log is not whole: " + err.Error(), cause: err}
			}
			if a.json() {
				return a.printJSON(map[string]any{
					"files": report.Files, "entries": report.Entries, "first": report.First, "last": report.Head.Seq, "hash": report.Head.Hash, "unfinishedBytes": report.Unfinished, "repairs": report.Repairs,
				})
			}
			if report.Repairs > 0 {
				if err := a.line("%d files were set aside because the log was damaged; the entries %s tell which", report.Repairs, audit.RepairWhat); err != nil {
					return err
				}
			}
			if report.Unfinished > 0 {
				if err := a.line("%d bytes of an entry that is not finished follow: a server writes it, or was killed meanwhile", report.Unfinished); err != nil {
					return err
				}
			}
			return a.line("%d entries, %d to %d, are as they were written; the last has the hash %s", report.Entries, report.First, report.Head.Seq, report.Head.Hash)
		},
	}
	cmd.Flags().StringVar(&data, "data", "./data", "the data `DIRECTORY`")
	cmd.Flags().StringVar(&known, "known", "", "the `HASH` of an entry that has to be there")
	cmd.Flags().BoolVar(&moved, "moved", false, "the oldest files were moved away on purpose, so that entries before the first one may be missing")
	return cmd
}

func (a *app) auditRepairCommand() *cobra.Command {
	var data string
	var dry bool
	cmd := &cobra.Command{
		Use: "repair", Short: "Set the damaged files of the audit log aside, so that the server starts", Args: cobra.NoArgs,
		Long: "Repair works on the data directory of a server that is stopped. The first file of the log that does not verify, and those after it, get another name in the same directory; nothing is deleted. " +
			"The log goes on after the last entry before them, with an entry \"" + audit.RepairWhat + "\" for each file.\n\n" +
			"  genkit-wasm audit repair --data ./data --dry-run",
		RunE: func(_ *cobra.Command, _ []string) error {
			if _, err := os.Stat(auditDir(data)); err != nil {
				return usagef("--data: %w", err)
			}
			done, err := audit.Repair(auditDir(data), dry)
			if err != nil {
				return local(err, false)
			}
			if a.json() {
				return a.printJSON(map[string]any{"files": done.Files, "problem": messageOf(done.Problem), "last": done.Head.Seq, "hash": done.Head.Hash, "dryRun": dry})
			}
			verb := "set aside"
			if dry {
				verb = "would be set aside"
			}
			for _, file := range done.Files {
				if err := a.line("%s: %s", verb, filepath.Join(auditDir(data), file)); err != nil {
					return err
				}
			}
			return a.line("the first is damaged: %s. The log goes on after entry %d", messageOf(done.Problem), done.Head.Seq)
		},
	}
	cmd.Flags().StringVar(&data, "data", "./data", "the data `DIRECTORY` of a server that is stopped")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be set aside")
	return cmd
}
