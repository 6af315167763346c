package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	accounts "github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// accountFlags are the flags for the accounts of a server's usage.
type accountFlags struct {
	prices string
	sinks  []string
	days   int
}

func (f *accountFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.prices, "prices", "", "what models cost, `JSON` or @FILE: {\"currency\":\"USD\",\"models\":{\"openai/gpt-5-mini\":{\"input\":0.25,\"cached\":0.025,\"output\":2},\"openai/*\":{…}}}, for a million tokens")
	flags.StringArrayVar(&f.sinks, "usage-sink", nil, "where an event for each call goes, `JSON` or @FILE: {\"file\":\"usage.jsonl\",\"maxBytes\":104857600,\"files\":10} or {\"url\":\"https://…\",\"header\":{\"Authorization\":\"@FILE\"},\"queueBytes\":67108864}, or {\"otlp\":\"http://localhost:4318\"}, a collector of OpenTelemetry; may be given again")
	f.days = 400
	wholeFlag(flags, &f.days, "usage-days", 1, 4000, "how many days of the sums of usage are kept")
}

// accounting is what the flags say.
type accounting struct {
	prices *accounts.Prices
	sinks  []sinkSpec
	days   int
}

// sinkSpec is one --usage-sink: of a file, of a URL, or of a collector.
type sinkSpec struct {
	// Name is that of the queue; "file", "http" or "otlp" where it is absent.
	Name     string            `json:"name,omitempty"`
	File     string            `json:"file,omitempty"`
	MaxBytes int64             `json:"maxBytes,omitempty"`
	Files    int               `json:"files,omitempty"`
	URL      string            `json:"url,omitempty"`
	OTLP     string            `json:"otlp,omitempty"`   // a collector's URL
	Header   map[string]string `json:"header,omitempty"` // values are "@FILE" or "env:NAME"
	// QueueBytes bounds the events that wait.
	QueueBytes int64 `json:"queueBytes,omitempty"`
}

// accounts reads the flags. Nothing is opened.
func (a *app) accounts(f *accountFlags) (accounting, error) {
	raw, err := a.jsonValue("prices", f.prices)
	if err != nil {
		return accounting{}, err
	}
	c := accounting{days: f.days}
	if raw != nil {
		if c.prices, err = accounts.ParsePrices(raw); err != nil {
			return c, usagef("--prices: %s", strings.TrimPrefix(status.Convert(err).Message, "prices: "))
		}
	}
	names := map[string]bool{}
	var targets []accounts.Target
	for _, text := range f.sinks {
		raw, err := a.jsonValue("usage-sink", text)
		if err != nil {
			return c, err
		}
		var s sinkSpec
		if err := schema.Decode(raw, &s, schema.RefuseUnknown); err != nil {
			return c, usagef("--usage-sink: %w", err)
		}
		if err := s.check(); err != nil {
			return c, usagef("--usage-sink: %s", status.Convert(err).Message)
		}
		if names[s.Name] {
			return c, usagef("--usage-sink: two sinks are called %q; give each a \"name\"", s.Name)
		}
		names[s.Name] = true
		c.sinks = append(c.sinks, s)
		targets = append(targets, accounts.Target{Name: s.Name, QueueBytes: s.QueueBytes})
	}
	if err := accounts.CheckTargets(targets); err != nil {
		return c, usagef("--usage-sink: %s", strings.TrimPrefix(messageOf(err), "usage: "))
	}
	return c, nil
}

// Bounds of the sizes of a sink: a smaller queue would drop what one moment brings, a smaller file the events of an hour.
const (
	leastSinkBytes = 64 << 10
	// leastFilesBytes is the least of a queue in files, which has two of 1 MiB.
	leastFilesBytes = 2 << 20
	mostSinkBytes   = 1 << 50
)

func (s *sinkSpec) check() error {
	switch {
	case (s.File != "") == (s.URL+s.OTLP != "") || s.URL != "" && s.OTLP != "":
		return errors.New("want one of \"file\", \"url\" and \"otlp\"")
	case s.File != "" && s.Header != nil, s.File == "" && (s.MaxBytes != 0 || s.Files != 0):
		return errors.New("\"maxBytes\" and \"files\" are of a file, \"header\" is of a URL")
	case s.Files < 0 || s.Files > accounts.MostFiles:
		return fmt.Errorf("\"files\" is %d, want 0 (not set) to %d", s.Files, accounts.MostFiles)
	}
	leastQueue := int64(leastSinkBytes)
	if s.File == "" {
		leastQueue = leastFilesBytes
	}
	for _, b := range []struct {
		name         string
		bytes, least int64
	}{{"queueBytes", s.QueueBytes, leastQueue}, {"maxBytes", s.MaxBytes, leastSinkBytes}} {
		if b.bytes != 0 && (b.bytes < b.least || b.bytes > mostSinkBytes) {
			return fmt.Errorf("%q is %d, want 0 (not set) or %d to %d", b.name, b.bytes, b.least, int64(mostSinkBytes))
		}
	}
	kind := "file"
	if s.File == "" {
		if kind = "http"; s.OTLP != "" {
			kind = "otlp"
		}
		for name, value := range s.Header {
			if !strings.HasPrefix(value, "@") && !strings.HasPrefix(value, "env:") {
				return fmt.Errorf("\"header.%s\": want @FILE or env:NAME, not the value itself", name)
			}
		}
		if _, err := accounts.NewHTTP(s.http(nil)); err != nil {
			return err
		}
	}
	s.Name = cmp.Or(s.Name, kind)
	return nil
}

// http is what the sink of a URL or a collector is made of.
func (s *sinkSpec) http(header map[string]string) accounts.HTTPConfig {
	return accounts.HTTPConfig{URL: cmp.Or(s.URL, s.OTLP), OTLP: s.OTLP != "", Header: header}
}

// open opens the sink.
func (s *sinkSpec) open() (accounts.Target, error) {
	t := accounts.Target{Name: s.Name, QueueBytes: s.QueueBytes}
	if s.File != "" {
		t.InMemory = true
		t.QueueBytes = cmp.Or(t.QueueBytes, tenant.JournalKeeps)
		f, err := accounts.NewFile(accounts.FileConfig{Path: s.File, MaxBytes: s.MaxBytes, Files: s.Files})
		t.Sink = f
		return t, err
	}
	header, err := s.headers()
	if err != nil {
		return t, err
	}
	h, err := accounts.NewHTTP(s.http(header))
	t.Sink = h
	return t, err
}

// headers reads the values of the headers.
func (s *sinkSpec) headers() (map[string]string, error) {
	header := map[string]string{}
	for name, from := range s.Header {
		if file, ok := strings.CutPrefix(from, "@"); ok {
			if err := checkKeyFile("\"header."+name+"\"", file); err != nil {
				return nil, err
			}
			raw, err := readFile(file, 64<<10)
			if err != nil {
				return nil, err
			}
			header[name] = string(bytes.TrimRight(raw, "\r\n"))
			continue
		}
		value, there := os.LookupEnv(strings.TrimPrefix(from, "env:"))
		if !there {
			return nil, fmt.Errorf("\"header.%s\": the variable of the environment is not set", name)
		}
		header[name] = value
	}
	return header, nil
}

// open opens the accounts in a directory, with their sinks.
func (c *accounting) open(dir string, log *slog.Logger) (*accounts.Book, error) {
	config := accounts.Config{Dir: dir, Prices: c.prices, Days: c.days, Logger: log}
	closeAll := func() error {
		var errs []error
		for _, t := range config.Sinks {
			if s, ok := t.Sink.(interface{ Close() error }); ok {
				errs = append(errs, s.Close())
			}
		}
		return errors.Join(errs...)
	}
	for i := range c.sinks {
		t, err := c.sinks[i].open()
		if err != nil {
			return nil, errors.Join(&failure{exit: exitUsage, text: fmt.Sprintf("--usage-sink %s: %v", c.sinks[i].Name, err), cause: err}, closeAll())
		}
		config.Sinks = append(config.Sinks, t)
	}
	book, err := accounts.Open(config)
	if err != nil {
		return nil, errors.Join(err, closeAll())
	}
	return book, nil
}

// journaled hands the calls of modules to the journal of --usage, too.
type journaled struct {
	*tenant.Journal
	book *accounts.Book
}

// Record implements [tenant.Sink].
func (j journaled) Record(e tenant.Event) {
	j.book.Record(e)
	j.Journal.Record(e)
}

// Refuse implements [tenant.Refuser].
func (j journaled) Refuse(name, id string, why error) { j.book.Refuse(name, id, why) }
