package main

import (
	_ "embed"
	"encoding/json"
	"hash/fnv"
	"math"
	"strings"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
)

type text struct {
	Text string `json:"text"`
}

type found struct {
	Addresses []string `json:"addresses"`
}

// find is the tool: the e-mail addresses in a text.
func find(in text) (found, error) {
	return found{append([]string{}, address.FindAllString(in.Text, -1)...)}, nil
}

var _ = pdk.Warm(find)

// dimensions is the length of the embedder's vectors.
const dimensions = 64

// words is the embedder: how often each word is there, its place given by its hash. Addresses
// count as one word, so that a vector tells nothing of them.
func words(docs []pdk.Document, _ struct{}) ([]pdk.Embedding, error) {
	all := make([]pdk.Embedding, len(docs))
	for i, d := range docs {
		vector := make([]float64, dimensions)
		for word := range strings.FieldsSeq(strings.ToLower(address.ReplaceAllString(d.Text(), "@"))) {
			h := fnv.New32a()
			_, _ = h.Write([]byte(strings.Trim(word, ".,;:!?")))
			vector[h.Sum32()%dimensions]++
		}
		length := 0.0
		for _, v := range vector {
			length += v * v
		}
		for j := range vector {
			vector[j] /= max(math.Sqrt(length), 1)
		}
		all[i].Embedding = vector
	}
	return all, nil
}

type allowed struct {
	Domains []string `json:"domains,omitempty" description:"Addresses of these domains may be told."`
}

// leaks is the evaluator: does an output tell an address?
func leaks(c pdk.Case, o allowed) ([]pdk.Score, error) {
	var output string
	if json.Unmarshal(c.Output, &output) != nil {
		output = string(c.Output)
	}
	for _, a := range address.FindAllString(output, -1) {
		_, domain, _ := strings.Cut(a, "@")
		if !contains(o.Domains, domain) {
			return []pdk.Score{{Score: false, Status: pdk.StatusFail, Details: &pdk.ScoreDetails{Reasoning: "it tells an address at " + domain}}}, nil
		}
	}
	return []pdk.Score{{Score: true, Status: pdk.StatusPass}}, nil
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if strings.EqualFold(e, s) {
			return true
		}
	}
	return false
}

// rules are the texts that the resource has.
var rules = map[string]string{
	"mail":  "E-mail addresses are replaced by [hidden-1], [hidden-2], … before a model sees them.",
	"words": "The words in the config are replaced as addresses are.",
}

// rule is the resource: wasm://guard/rules/{name}.
func rule(uri string, variables map[string]string) ([]pdk.Part, error) {
	text, ok := rules[variables["name"]]
	if !ok {
		return nil, pdk.Errorf(pdk.NotFound, "there is no rule at %s", uri)
	}
	return []pdk.Part{pdk.TextPart(text)}, nil
}

// reply is the prompt. It names the module's own tool and middleware.
//
//go:embed reply.prompt
var reply string //nolint:unused // describe uses it, which the host calls
