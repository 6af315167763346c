// Package tooltest tests the tools of a module: it runs an author's cases, and gives each tool hostile inputs, which have to
// end in an answer or in an error that says what is wrong. It loads no module and grants nothing: who calls it does.
//
//	file, err := tooltest.Parse(raw) // cases.yaml
//	report := tooltest.NewReport("textkit")
//	good, err := report.RunCases(ctx, tools, file.Cases, told)
//	for _, t := range tools {
//		result, err := report.RunHostile(ctx, t, good[t.Name])
//	}
package tooltest

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/hostile"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Tool is a tool under test.
type Tool struct {
	Name   string          // without its module's
	Schema json.RawMessage // of its input; nil for none
	Run    action.Action
}

// Report is how a module's tests ended, as JSON for programs. It is not safe for concurrent use.
type Report struct {
	Module      string          `json:"module"`
	Cases       []CaseResult    `json:"cases"`
	Hostile     []HostileResult `json:"hostile"`
	NeverCalled []string        `json:"neverCalled"` // tools without a case
	Passed      int             `json:"passed"`      // cases, and tools with all of their hostile inputs
	Failed      int             `json:"failed"`
}

// CaseResult is how one case ended.
type CaseResult struct {
	Name string `json:"name"`
	Tool string `json:"tool"`
	OK   bool   `json:"ok"`
	Got  string `json:"got,omitempty"` // of a case that failed: in words, or JSON
	Want string `json:"want,omitempty"`
	// Missing are answers that the case lacks, each as text to paste into it; Unasked those that nothing asked for.
	Missing []string `json:"missing,omitempty"`
	Unasked []string `json:"unasked,omitempty"`
}

// HostileResult is what a tool did with its hostile inputs.
type HostileResult struct {
	Tool     string         `json:"tool"`
	Inputs   int            `json:"inputs"`
	Answered int            `json:"answered"`
	Errors   map[string]int `json:"errors,omitempty"` // by status
	Failures []Fault        `json:"failures,omitempty"`
}

// Fault is an input that a tool did not survive.
type Fault struct {
	Input string `json:"input"` // in words
	Error string `json:"error"`
}

// NewReport begins the report of a module.
func NewReport(module string) *Report {
	return &Report{Module: module, Cases: []CaseResult{}, Hostile: []HostileResult{}, NeverCalled: []string{}}
}

func (r *Report) count(passed bool) {
	if passed {
		r.Passed++
	} else {
		r.Failed++
	}
}

// RunCases runs cases in their order, calls told with each result, and returns for each tool an input that worked. It
// fails when told does, or when ctx ends.
func (r *Report) RunCases(ctx context.Context, tools []Tool, cases []Case, told func(CaseResult) error) (good map[string]json.RawMessage, err error) {
	good = map[string]json.RawMessage{}
	byName, called := map[string]*Tool{}, map[string]bool{}
	for i := range tools {
		byName[tools[i].Name] = &tools[i]
	}
	for _, c := range cases {
		if c.Tool == "" && len(tools) == 1 {
			c.Tool = tools[0].Name
		}
		result := CaseResult{Name: c.Name, Tool: c.Tool}
		if t := byName[c.Tool]; t != nil {
			called[c.Tool] = true
			host := newHost(r.Module, c.Host)
			var as bool
			if result.Got, as = c.run(host.on(ctx), t.Run); as {
				result.Got = ""
			}
			result.Missing, result.Unasked = host.faults(as)
			result.OK = as && len(result.Missing)+len(result.Unasked) == 0
			if result.OK && c.Want != nil && good[c.Tool] == nil {
				good[c.Tool] = c.Input
			}
		} else {
			result.Got = "the module has no such tool"
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if result.Got != "" {
			result.Want = c.wanted()
		}
		r.Cases = append(r.Cases, result)
		r.count(result.OK)
		if err := told(result); err != nil {
			return nil, err
		}
	}
	for _, t := range tools {
		if !called[t.Name] {
			r.NeverCalled = append(r.NeverCalled, t.Name)
		}
	}
	return good, nil
}

// run calls a tool, and says what came and whether it is what the case wants.
func (c *Case) run(ctx context.Context, t action.Action) (got string, ok bool) {
	if c.Context != nil {
		ctx = action.WithContext(ctx, c.Context)
	}
	out, err := t.RunJSON(ctx, c.Input, ignore)
	if i, interrupted := tool.AsInterrupt(err); interrupted {
		metadata := i.Metadata
		if metadata == nil {
			metadata = json.RawMessage("true")
		}
		return "interrupt " + string(metadata), c.WantInterrupt != nil && rawjson.Equal(metadata, c.WantInterrupt)
	}
	if err != nil {
		e := status.Convert(err)
		return "error " + e.Code.String() + ": " + e.Message, c.WantError != "" && e.Code.String() == c.WantError
	}
	var b bytes.Buffer
	if json.Compact(&b, out) != nil {
		return string(out), false
	}
	return b.String(), c.Want != nil && rawjson.Equal(out, c.Want)
}

// ignore takes the chunks that a tool emits.
func ignore(json.RawMessage) error { return nil }

// RunHostile gives a tool inputs that try to break it, made from good, or where that is nil from its schema. It fails
// when ctx ends.
func (r *Report) RunHostile(ctx context.Context, t Tool, good json.RawMessage) (HostileResult, error) {
	result := HostileResult{Tool: t.Name, Errors: map[string]int{}}
	for _, in := range hostile.Inputs(t.Schema, good) {
		_, err := t.Run.RunJSON(ctx, in.JSON, ignore)
		if ctx.Err() != nil {
			return result, ctx.Err()
		}
		if _, interrupted := tool.AsInterrupt(err); interrupted {
			err = nil // which is an answer
		}
		result.add(in.What, err)
	}
	r.Hostile = append(r.Hostile, result)
	r.count(len(result.Failures) == 0)
	return result, nil
}

// add counts how one input ended. INTERNAL is a trap, an output that breaks its schema, or an error without a code:
// none of them tells a model what to do next.
func (r *HostileResult) add(what string, err error) {
	r.Inputs++
	if err == nil {
		r.Answered++
		return
	}
	e := status.Convert(err)
	r.Errors[e.Code.String()]++
	if e.Code == status.Internal || e.Code == status.Unknown || e.Code == status.DataLoss {
		r.Failures = append(r.Failures, Fault{what, e.Code.String() + ": " + e.Message})
	}
}
