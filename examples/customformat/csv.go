package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// csvFormat reads lines of comma-separated values, the names of the columns first, as
// an array of objects.
type csvFormat struct{}

func (csvFormat) Name() string { return "csv" }

// New makes a handler for one generate call. This one needs nothing of the schema.
func (csvFormat) New(context.Context, json.RawMessage) (format.Handler, error) {
	return csvFormat{}, nil
}

func (csvFormat) Config() format.Config { return format.Config{ContentType: "text/csv"} }

func (csvFormat) Instructions() string {
	return "Output should be CSV only: a line with the column names, then one line per record."
}

// Parse reads the whole answer.
func (csvFormat) Parse(_ context.Context, m *content.Message) (json.RawMessage, error) {
	rows, err := records(m.Text())
	if err != nil {
		return nil, err
	}
	return json.Marshal(rows)
}

// ParseChunk makes the format readable while it streams: it returns the records whose
// lines a chunk has ended.
func (csvFormat) ParseChunk(_ context.Context, text, delta string) (json.RawMessage, error) {
	before, err := records(ended(strings.TrimSuffix(text, delta)))
	if err != nil {
		return nil, err
	}
	rows, err := records(ended(text))
	if err != nil || len(rows) == len(before) {
		return nil, err
	}
	return json.Marshal(rows[len(before):])
}

// ended is the text up to the end of its last line.
func ended(text string) string { return text[:strings.LastIndexByte(text, '\n')+1] }

func records(text string) ([]map[string]string, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.TrimLeadingSpace = true
	rows := []map[string]string{}
	columns, err := r.Read()
	for err == nil {
		var values []string
		if values, err = r.Read(); err == nil {
			row := map[string]string{}
			for i, column := range columns {
				row[column] = values[i]
			}
			rows = append(rows, row)
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, status.Publicf(status.InvalidArgument, "the model's CSV: %w", err)
	}
	return rows, nil
}
