package main

import (
	"strings"
	"unicode"
	"unicode/utf8"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
)

type slugInput struct {
	Text      string `json:"text" description:"the text to turn into a slug"`
	Separator string `json:"separator,omitempty" enum:"-,_,." description:"what stands between words; - when absent"`
}

type slugOutput struct {
	Slug string `json:"slug" description:"the slug; empty when the text has neither letters nor digits"`
}

// latin folds the accented letters of Western European languages; letters of
// other scripts stay as they are.
var latin = strings.NewReplacer(
	"à", "a", "á", "a", "â", "a", "ã", "a", "ä", "a", "å", "a", "ā", "a", "ą", "a", "æ", "ae",
	"ç", "c", "ć", "c", "č", "c", "ď", "d", "ð", "d", "è", "e", "é", "e", "ê", "e", "ë", "e", "ē", "e", "ę", "e", "ě", "e",
	"ì", "i", "í", "i", "î", "i", "ï", "i", "ī", "i", "ı", "i", "ł", "l", "ñ", "n", "ń", "n", "ň", "n",
	"ò", "o", "ó", "o", "ô", "o", "õ", "o", "ö", "o", "ø", "o", "ō", "o", "ő", "o", "œ", "oe", "ř", "r",
	"ś", "s", "š", "s", "ş", "s", "ß", "ss", "ť", "t", "þ", "th", "ù", "u", "ú", "u", "û", "u", "ü", "u", "ū", "u", "ů", "u", "ű", "u",
	"ý", "y", "ÿ", "y", "ź", "z", "ż", "z", "ž", "z",
)

func slugify(in slugInput) (slugOutput, error) {
	separator := in.Separator
	if separator == "" {
		separator = "-"
	}
	var slug strings.Builder
	gap := false
	for _, r := range latin.Replace(strings.ToLower(in.Text)) {
		switch {
		case unicode.Is(unicode.Mn, r), r == '\'', r == '’':
			// A combining accent or an apostrophe does not part a word.
		case unicode.IsLetter(r), unicode.IsDigit(r):
			if gap && slug.Len() > 0 {
				slug.WriteString(separator)
			}
			gap = false
			slug.WriteRune(r)
		default:
			gap = true
		}
	}
	return slugOutput{slug.String()}, nil
}

type textInput struct {
	Text string `json:"text" description:"the text to look at"`
}

type countOutput struct {
	Words      int `json:"words" description:"runs of characters other than white space"`
	Lines      int `json:"lines" description:"lines; a newline at the end does not start another"`
	Characters int `json:"characters" description:"Unicode code points, white space included"`
}

func wordcount(in textInput) (countOutput, error) {
	lines := strings.Count(in.Text, "\n")
	if in.Text != "" && !strings.HasSuffix(in.Text, "\n") {
		lines++
	}
	return countOutput{
		Words:      len(strings.Fields(in.Text)),
		Lines:      lines,
		Characters: utf8.RuneCountInString(in.Text),
	}, nil
}

type streamOutput struct {
	Count int `json:"count" description:"how many words were streamed"`
}

func streamWords(in textInput) (streamOutput, error) {
	words := strings.Fields(in.Text)
	for _, w := range words {
		if err := pdk.Emit(w); err != nil {
			return streamOutput{}, err
		}
	}
	return streamOutput{len(words)}, nil
}
