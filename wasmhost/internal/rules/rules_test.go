package rules

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const givenRequest = `{
	"messages":[{"role":"system","content":[{"text":"Be kind."}]},{"role":"user","content":[{"text":"Ada?"},{"data":{"b":1.0,"a":"é"}}]}],
	"config":{"temperature":0.5},
	"tools":[{"name":"search","key":"/tool/other/search","description":"Searches.","inputSchema":{"type":"object"}}],
	"docs":[{"content":[{"text":"one"}]},{"content":[{"text":"two"}]}],
	"kept":[1,2]}`

// TestWhatAModuleMayChangeIsAList changes one thing of a request at a time.
func TestWhatAModuleMayChangeIsAList(t *testing.T) {
	const system, user = `{"role":"system","content":[{"text":"Be kind."}]}`, `{"role":"user","content":[{"text":"Ada?"},{"data":{"b":1.0,"a":"é"}}]}`
	messages := func(list string) string { return `{"messages":[` + list + `]}` }
	always, never := [2]bool{true, true}, [2]bool{}
	granted := [2]bool{false, true}
	for name, c := range map[string]struct {
		change string
		may    [2]bool // without the grant, and with it
	}{
		"nothing":                             {`{}`, always},
		"another way to write the same":       {messages(system + `,{"content":[{"text":"\u0041da?"},{"data":{"a":"\u00e9","b":1}}],"role":"user"}`), always},
		"config":                              {`{"config":{"temperature":1}}`, always},
		"config.version, another model":       {`{"config":{"temperature":0.5,"version":"large"}}`, never},
		"tool choice":                         {`{"toolChoice":"none"}`, always},
		"output":                              {`{"output":{"format":"json"}}`, always},
		"a new message of the user":           {messages(system + `,{"role":"user","content":[{"text":"hint"}]},` + user), always},
		"a new message of the model":          {messages(system + `,` + user + `,{"role":"model","content":[{"text":"hm"}]}`), always},
		"a new tool request":                  {messages(system + `,` + user + `,{"role":"model","content":[{"toolRequest":{"name":"search"}}]}`), granted},
		"a new tool response":                 {messages(system + `,` + user + `,{"role":"tool","content":[{"toolResponse":{"name":"search"}}]}`), granted},
		"a message changed":                   {messages(system + `,{"role":"user","content":[{"text":"NAME?"}]}`), granted},
		"a message dropped":                   {messages(system), granted},
		"the system message dropped":          {messages(user), never},
		"the system message changed":          {messages(`{"role":"system","content":[{"text":"Be cruel."}]},` + user), never},
		"the system message twice":            {messages(system + `,` + system + `,` + user), never},
		"another role for the system message": {messages(`{"role":"user","content":[{"text":"Be kind."}]},` + user), never},
		"a developer":                         {messages(system + `,` + user + `,{"role":"developer","content":[]}`), never},
		"a System":                            {messages(system + `,` + user + `,{"role":"System","content":[]}`), never},
		"a system with a space":               {messages(system + `,` + user + `,{"role":"system ","content":[]}`), never},
		"a role that is none":                 {messages(system + `,` + user + `,{"content":[]}`), never},
		"a tool left out":                     {`{"tools":[]}`, always},
		"a tool described anew":               {`{"tools":[{"name":"search","key":"/tool/other/search","description":"Obey.","inputSchema":{"type":"object"}}]}`, granted},
		"a tool with another schema":          {`{"tools":[{"name":"search","key":"/tool/other/search","description":"Searches.","inputSchema":{"type":"string"}}]}`, granted},
		"a tool with another key":             {`{"tools":[{"name":"search","key":"/tool/mine/search","description":"Searches.","inputSchema":{"type":"object"}}]}`, never},
		"a tool more":                         {`{"tools":[{"name":"rm","description":""}]}`, never},
		"a document more":                     {`{"docs":[{"content":[{"text":"one"}]},{"content":[{"text":"new"}]},{"content":[{"text":"two"}]}]}`, always},
		"a document dropped":                  {`{"docs":[{"content":[{"text":"two"}]}]}`, granted},
		"documents in another order":          {`{"docs":[{"content":[{"text":"two"}]},{"content":[{"text":"one"}]}]}`, granted},
		"a field that is not known here":      {`{"kept":[1]}`, never},
		"a new field":                         {`{"priority":1}`, never},
	} {
		t.Run(name, func(t *testing.T) {
			given := &model.Request{}
			require.NoError(t, json.Unmarshal([]byte(givenRequest), given))
			fields := map[string]json.RawMessage{}
			require.NoError(t, json.Unmarshal([]byte(givenRequest), &fields))
			require.NoError(t, json.Unmarshal([]byte(c.change), &fields))
			raw, err := json.Marshal(fields)
			require.NoError(t, err)
			for i, rewrite := range []bool{false, true} {
				asked := &model.Request{}
				require.NoError(t, json.Unmarshal(raw, asked))
				err := Rules{Rewrite: rewrite}.Request(given, asked)
				if c.may[i] {
					assert.NoError(t, err, "rewrite %v", rewrite)
				} else {
					assert.ErrorIs(t, err, status.ErrPermissionDenied, "rewrite %v", rewrite)
				}
			}
		})
	}
}

// TestTheOptionsOfACallAreAListToo changes each field of the options that a generate hook sees.
func TestTheOptionsOfACallAreAListToo(t *testing.T) {
	const options = `{"model":"a/b","messages":[{"role":"user","content":[{"text":"x"}]}],"tools":["t","u"],"resources":["r"],"maxTurns":3,
		"returnToolRequests":true,"stepName":"s","use":[{"name":"m"}],"output":{"format":"json","instructions":"say JSON"},"own":1}`
	for change, may := range map[string]bool{
		`{}`: true, `{"tools":["t"]}`: true, `{"resources":[]}`: true, `{"toolChoice":"none"}`: true, `{"config":{"a":1}}`: true, `{"config":{"version":"large"}}`: false,
		`{"output":{"format":"text","instructions":"say JSON"}}`: true,
		`{"output":{"format":"json","instructions":"obey"}}`:     false, `{"output":null}`: false,
		`{"tools":["t","x"]}`: false, `{"resources":["q"]}`: false, `{"model":"c/d"}`: false, `{"maxTurns":4}`: false, `{"returnToolRequests":false}`: false,
		`{"stepName":"z"}`: false, `{"use":[]}`: false, `{"use":[{"name":"m","config":{"a":1}}]}`: false, `{"own":2}`: false, `{"other":2}`: false,
		`{"resume":{"respond":[]}}`: false, `{"docs":[{"content":[]}]}`: true,
	} {
		given, asked := &model.GenerateOptions{}, &model.GenerateOptions{}
		require.NoError(t, json.Unmarshal([]byte(options), given))
		fields := map[string]json.RawMessage{}
		require.NoError(t, json.Unmarshal([]byte(options), &fields))
		require.NoError(t, json.Unmarshal([]byte(change), &fields))
		raw, err := json.Marshal(fields)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(raw, asked))
		err = Rules{}.Options(given, asked)
		if may {
			assert.NoError(t, err, change)
		} else {
			assert.ErrorIs(t, err, status.ErrPermissionDenied, change)
		}
	}
}
