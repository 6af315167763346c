package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Errors of [Check].
var (
	ErrEmpty   = errors.New("want a JSON value, got nothing")
	ErrUTF8    = errors.New("not valid UTF-8")
	ErrSyntax  = errors.New("not valid JSON")
	ErrTooDeep = fmt.Errorf("nested deeper than %d levels", MaxDepth)
)

// Check reports whether raw is one JSON value in valid UTF-8, nested at most
// [MaxDepth] deep. Encoding/json accepts the same, but would replace invalid
// UTF-8 in silence and go deeper. It reads the text once and builds nothing.
func Check(raw json.RawMessage) error {
	_, err := scan(raw, false)
	return err
}

// scan is Check; strict it also refuses what a schema can't be checked against, a
// key twice and a number out of bounds. The offset is where the text was refused.
func scan(raw []byte, strict bool) (offset int, err error) {
	r := newReader(raw)
	defer r.free()
	// Reading without a schema takes linear time, so it needs no budget.
	r.budget, r.strict = math.MaxInt, strict
	if r.document(nil) {
		return 0, nil
	}
	if !utf8.Valid(raw) { // says more than the syntax error that it often comes with
		return r.pos, ErrUTF8
	}
	return r.pos, r.err
}
