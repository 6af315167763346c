package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// showAfter is how long something may take before a person is told what it is.
const showAfter = 400 * time.Millisecond

// progress shows how far a body has been sent and, once it has, that the server checks
// and compiles it. It shows nothing where nobody looks, and nothing of what is over soon.
// Who answers without the whole body may have end called while it is still read.
type progress struct {
	io.Reader
	app   *app
	total int64

	mu      sync.Mutex // guards the fields below, and the line
	done    int64
	began   time.Time
	shown   time.Time
	waiting func() // ends the line about the server
	ended   bool
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return n, err
	}
	now := time.Now()
	if p.began.IsZero() {
		p.began = now
	}
	p.done += int64(n)
	switch {
	case p.done >= p.total || err != nil:
		if p.waiting == nil {
			p.waiting = p.app.progress("checking and compiling on the server")
		}
	case now.Sub(p.began) > showAfter && now.Sub(p.shown) > 100*time.Millisecond:
		p.shown = now
		p.app.status(fmt.Sprintf("uploading %d %%", p.done*100/max(1, p.total)))
	}
	return n, err
}

// end clears the line, on which nothing is shown any more.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	switch {
	case p.waiting != nil:
		p.waiting()
	case !p.shown.IsZero():
		p.app.status("")
	}
}

// progress shows a line with a text and the seconds that have passed, from a moment on
// until the function that it returns is called, which takes the line away.
func (a *app) progress(text string) (done func()) {
	if _, tty := terminal(a.err); !tty {
		return func() {}
	}
	stop := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTimer(showAfter)
		defer tick.Stop()
		for began := time.Now(); ; tick.Reset(time.Second / 4) {
			select {
			case <-stop:
				a.status("")
				return
			case now := <-tick.C:
				a.status(fmt.Sprintf("%s, %.0f s", text, now.Sub(began).Seconds()))
			}
		}
	})
	return sync.OnceFunc(func() {
		close(stop)
		ended.Wait()
	})
}

// status puts a text in the place of the terminal's line; an empty one clears it. Where
// there is no terminal it does nothing.
func (a *app) status(text string) {
	if _, tty := terminal(a.err); tty {
		_, _ = fmt.Fprintf(a.err, "\r\x1b[K%s", text)
	}
}
