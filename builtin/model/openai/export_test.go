package openai

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// RetryAfter is retryAfter with a clock.
func RetryAfter(h http.Header, now time.Time) time.Duration { return retryAfter(h, now) }

// Guard puts the layer that takes API keys away in front of a model.
func Guard(m model.Model) model.Model { return &chatModel{m} }

// Events returns the data of all events of a stream.
func Events(stream []byte, maxBytes int) ([]string, error) {
	e := newEvents(bytes.NewReader(stream), maxBytes)
	var all []string
	for {
		data, err := e.next()
		if data != nil {
			all = append(all, string(data))
		}
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

// Unlisted returns how many models of unlisted ids are kept.
func (p *Provider) Unlisted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.unlisted)
}
