//go:build peers

package prompts

const (
	broken    = "YAML that is broken"
	badBlock  = "a template that is broken"
	noSchema  = "a schema there is not"
	noHelper  = "a helper there is not"
	noPartial = "a partial there is not"
	comment   = "nothing but a comment before the head"
)

// FromJS are the differences to Genkit JS 1.42, each stated in docs/prompts.md.
var FromJS = []Difference{
	{Name: "empty-fields", Path: `described\.metadata\.prompt\.input\.schema|options\.output|options\.output\.jsonSchema`, Ours: "nothing", Theirs: `null|\{"jsonSchema":null\}|\{\}`},
	{Name: "empty-fields", Path: `(asked\[\d\]|options)\.config`, Ours: "nothing", Theirs: `\{\}`},
	{Name: "request-only", Path: `.*\.resources`, Ours: "nothing", Theirs: `\[\]`},
	{Name: "request-only", Path: `request\.output\.(defaultInstructions|jsonSchema)`, Ours: "nothing"},
	{Name: "request-tool-choice", Path: `request\.toolChoice`, Theirs: "nothing"},
	{Name: "input-default", Path: `.*\.content\[0\]\.text|described\.metadata\.prompt\.input\.default`, Only: []string{"a default input"}},
	{Name: "forged-markers", Path: `.*\.messages\[1\]\.(role|content\[0\]\.text)`, Only: []string{"markers in the input"}},
	{Name: "use-by-name", Path: `.*`, Only: []string{"middleware by its name alone", "middleware there is not"}},
	{Name: "licence-header", Path: `.*`, Only: []string{comment}},
	{Name: "input-checked", Path: `text|asked`, Only: []string{"an input that breaks the schema"}},
	{Name: "broken-files", Path: `.*`, Only: []string{broken, badBlock}},
	{Name: "codes", Path: `.*\.error\.status`, Only: []string{noHelper, noPartial, noSchema}},
	{Name: "described-all-the-same", Path: `described\..*`, Only: []string{noSchema}},
	{Name: "codes", Path: `.*`, Only: []string{"a prompt there is not"}},
}

// FromGo are the differences to Genkit's Go SDK 1.9, each stated in docs/prompts.md.
var FromGo = []Difference{
	{Name: "percent-signs", Path: `options\.messages\[0\]\.content\[0\]\.text`, Only: []string{"percent signs and braces in the input"}},
	{Name: "forged-markers", Path: `options\.messages\[1\]\.(role|content\[0\]\.text)`, Only: []string{"markers in the input"}},
	{Name: "system-alone", Path: `options\.messages\[0\]\.role`, Ours: `"system"`, Theirs: `"user"`, Only: []string{"history behind all"}},
	{Name: "no-messages", Path: `options\.(messages|error)`, Only: []string{"history in an empty prompt", "history twice", "a prompt without messages"}},
	{Name: "media-type", Path: `options\.(messages|error)`, Only: []string{"media and sections"}},
	{Name: "partial-spaces", Path: `options\.messages\[0\]\.content\[0\]\.text`, Only: []string{"partials, helpers and schemas"}},
	{Name: "lists-as-text", Path: `options\.messages\[0\]\.content\[0\]\.text`, Only: []string{"values as text"}},
	{Name: "equal-numbers", Path: `options\.messages\[0\]\.content\[0\]\.text`, Only: []string{"conditions"}},
	{Name: "schema-types", Path: `options\.(messages|error)`, Only: []string{"JSON Schema"}},
	{Name: "licence-header", Path: `options\..*`, Only: []string{comment}},
	{Name: "broken-files", Path: `options\..*`, Only: []string{broken, badBlock}},
	{Name: "unknown-helpers", Path: `options\.(messages|error)`, Only: []string{noHelper}},
	{Name: "codes", Path: `options\.error\.status`, Only: []string{noPartial, noSchema}},
}
