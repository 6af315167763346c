package recording

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/internal/tooltest"
)

// Case makes a test case of a recording: its host answers as the recorded one did, and it wants the recorded end. name may
// be empty. It fails when the call asked for what a case can't say.
func (r *Recording) Case(name string) (tooltest.Case, error) {
	tool := strings.TrimPrefix(r.Action, "/tool/")
	if rest, ok := strings.CutPrefix(tool, r.Module.Name+"/"); ok {
		tool = rest
	} else { // the key of another action, of which the module's name is left out
		tool = strings.Replace(tool, "/"+r.Module.Name+"/", "/", 1)
	}
	c := tooltest.Case{Name: cmp.Or(name, "recorded "+tool), Tool: tool, Input: json.RawMessage(r.Input), Context: json.RawMessage(r.Context)}
	switch e := r.Ended; {
	case e.Error != nil:
		c.WantError = e.Error.Code
	case len(e.Interrupt) > 0:
		c.WantInterrupt = json.RawMessage(e.Interrupt)
	case !json.Valid(r.Result):
		return c, errors.New("the recording has no result")
	default:
		c.Want = json.RawMessage(r.Result)
	}
	for i := range r.Events {
		if r.Events[i].Ask == "" {
			continue
		}
		fake, err := r.Events[i].fake()
		if err != nil {
			return c, fmt.Errorf("event %d: %w", i+1, err)
		}
		c.Host = append(c.Host, fake)
	}
	return c, nil
}

// fake is a request and its answer in a case.
func (e *Event) fake() (f tooltest.Fake, err error) {
	request := json.RawMessage(e.Request)
	if len(request) == 0 {
		request = json.RawMessage("null")
	}
	if !json.Valid(request) {
		return f, errors.New("the request is no JSON; a case can't hold it")
	}
	if e.Error != nil {
		if f.Error, err = json.Marshal(e.Error); err != nil {
			return f, err
		}
	} else {
		f.Answer = json.RawMessage(e.Answer)
	}
	into := map[string]*json.RawMessage{
		"http": &f.HTTP, fetch: &f.HTTP, "kv_get": &f.KVGet, "kv_set": &f.KVSet, "kv_delete": &f.KVDelete, "kv_list": &f.KVList,
		"generate": &f.Generate, "run": &f.Run, "now": &f.Now, "resumed": &f.Resumed,
	}[e.Ask]
	if into == nil {
		return f, fmt.Errorf("a case has no answer to %q", e.Ask)
	}
	if *into = request; len(e.Body) > 0 && utf8.Valid(e.Body) && request[0] == '{' {
		body, err := json.Marshal(string(e.Body))
		if err != nil {
			return f, err
		}
		*into = slices.Concat(request[:len(request)-1], []byte(`,"body":`), body, []byte("}"))
	}
	if e.Ask == fetch && e.Fetched != nil {
		body := map[string]any{"status": e.Fetched.Status, "headers": json.RawMessage(e.Fetched.Headers)}
		if utf8.Valid(e.Fetched.Body) {
			body["body"] = string(e.Fetched.Body)
		} else {
			body["bodyBase64"] = []byte(e.Fetched.Body)
		}
		f.Answer, err = json.Marshal(body)
	}
	return f, err
}
