package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// number is the value of a flag that is a number within bounds. Texts are read in one way alone: a leading zero, a sign
// or a base is no part of a number, so that nothing is taken for another number than the one that was meant.
type number[T ~int | ~int64] struct {
	into        *T
	least, most T
	form        form
	// zero is the meaning of 0 where 0 is below least; empty where it has none.
	zero string
}

// form is how numbers of a kind are written.
type form struct {
	kind string // the word of pflag, which help shows for a flag whose text names none
	want string // the kind in an error, with an example
	read func(string) (int64, error)
	show func(int64) string
}

var _ pflag.Value = (*number[int])(nil)

var (
	counts = form{"int", "a whole number in digits", readWhole, func(n int64) string { return strconv.FormatInt(n, 10) }}
	sizes  = form{"bytes", "bytes in digits, or with a unit such as 512MiB or 4GiB", readSize, showSize}
	spans  = form{"duration", "a duration such as 90s or 1h30m", readSpan, func(n int64) string { return time.Duration(n).String() }}
)

// wholeFlag adds a flag that takes least to most. The value of into is its default, which need not lie between them.
func wholeFlag(flags *pflag.FlagSet, into *int, name string, least, most int, usage string) {
	flags.Var(&number[int]{into: into, least: least, most: most, form: counts}, name, usage)
}

// spanFlag adds a flag that takes a duration; the value of into is its default.
func spanFlag(flags *pflag.FlagSet, into *time.Duration, name string, least, most time.Duration, usage string) {
	flags.Var(&number[time.Duration]{into: into, least: least, most: most, form: spans}, name, usage)
}

// String is the value as Set reads it.
func (n *number[T]) String() string {
	if n.into == nil { // pflag asks a zero value
		return ""
	}
	if n.form.kind == sizes.kind { // "config show" has digits, whatever the unit was
		return strconv.FormatInt(int64(*n.into), 10)
	}
	return n.form.show(int64(*n.into))
}

// Type implements [pflag.Value].
func (n *number[T]) Type() string { return n.form.kind }

// Set reads a text.
func (n *number[T]) Set(text string) error {
	value, err := n.form.read(text)
	within := fmt.Sprintf("%s to %s", n.form.show(int64(n.least)), n.form.show(int64(n.most)))
	if n.zero != "" {
		within = fmt.Sprintf("0 (%s) or %s", n.zero, within)
	}
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return &numberError{text, fmt.Sprintf("%s, %s", n.form.want, within)}
	case err != nil, int64(T(value)) != value, (T(value) < n.least || T(value) > n.most) && (value != 0 || n.zero == ""):
		return &numberError{text, within}
	}
	*n.into = T(value)
	return nil
}

// numberError is why a text is none of a flag's numbers.
type numberError struct{ text, want string }

func (e *numberError) Error() string { return "want " + e.want }

// wrongNumber is the mistake of a flag's number in the words of all other flags; nil for another mistake.
func wrongNumber(err error) error {
	wrong, ok := errors.AsType[*numberError](err)
	flag, named := errors.AsType[*pflag.InvalidValueError](err)
	if !ok || !named {
		return nil
	}
	text := wrong.text
	if !plainNumber.MatchString(text) {
		text = strconv.Quote(text)
	}
	return usagef("--%s is %s, %w", flag.GetFlag().Name, text, wrong)
}

var (
	plainNumber = regexp.MustCompile(`^[-+.0-9A-Za-z_]{1,40}$`)
	whole       = regexp.MustCompile(`^-?(0|[1-9][0-9]*(_[0-9]+)*)$`)
	sized       = regexp.MustCompile(`^([0-9_]+) ?([KMGT]i)?B$`)
)

// readWhole reads a number in digits, between which "_" may stand as in YAML. One that is too large for int64 is [strconv.ErrRange].
func readWhole(text string) (int64, error) {
	if !whole.MatchString(text) {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
}

var units = []string{"", "Ki", "Mi", "Gi", "Ti"}

// readSize reads bytes, alone or in one of the units that are powers of 1024.
func readSize(text string) (int64, error) {
	unit := ""
	if m := sized.FindStringSubmatch(text); m != nil {
		text, unit = m[1], m[2]
	}
	n, err := readWhole(text)
	for i := 0; err == nil && units[i] != unit; i++ {
		if n > (1<<63-1)/1024 {
			return 0, strconv.ErrRange
		}
		n *= 1024
	}
	return n, err
}

// showSize writes bytes in the largest unit that they are a whole number of.
func showSize(n int64) string {
	i := 0
	for ; n != 0 && n%1024 == 0 && i < len(units)-1; i++ {
		n /= 1024
	}
	if i == 0 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10) + units[i] + "B"
}

// duration has a number in digits before each unit.
var duration = regexp.MustCompile(`^-?(0|((0|[1-9][0-9]*)(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`)

// readSpan reads a duration as Go writes it. One that int64 can't hold is [strconv.ErrRange].
func readSpan(text string) (int64, error) {
	if !duration.MatchString(text) {
		return 0, strconv.ErrSyntax
	}
	d, err := time.ParseDuration(text)
	if err != nil { // its form is right
		err = strconv.ErrRange
	}
	return int64(d), err
}
