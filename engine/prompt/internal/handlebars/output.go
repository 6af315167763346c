package handlebars

import "strings"

// Kind is the kind of a piece.
type Kind int

// The kinds of piece.
const (
	Text    Kind = iota // Value is the text
	Role                // here begins a message of the role Value
	History             // here stands the history
	Media               // Value is the URL, Type the content type or ""
	Section             // Value is the name of a section that is filled later
)

// Piece is a part of a rendering: text, or a mark. Only helpers make marks: a value of the input that contains
// the text of one stays text. That is why a user can't open a system message.
type Piece struct {
	Kind  Kind
	Value string
	Type  string
}

// Fragment is a list of pieces. A helper returns one to put marks into the output, and gets one when it renders
// its block. As a parameter or a condition it counts as its text without the marks.
type Fragment struct{ Pieces []Piece }

// String returns the text without the marks.
func (f *Fragment) String() string {
	if f == nil {
		return ""
	}
	var b strings.Builder
	for _, p := range f.Pieces {
		if p.Kind == Text {
			b.WriteString(p.Value)
		}
	}
	return b.String()
}

// spent counts the work of one rendering. All outputs of the rendering share it, so that a fragment that is
// rendered and thrown away is counted too.
type spent struct {
	steps, bytes, marks int
}

// output collects pieces. Text is gathered in buf until a mark or the end comes, so that no two pieces of text
// follow each other.
type output struct {
	pieces []Piece
	buf    []byte
	spent  *spent
}

// text appends text. The limit is checked before the bytes are copied.
func (o *output) text(s string) error {
	if o.spent.bytes += len(s); o.spent.bytes > MaxOutput {
		return &LimitError{"the rendered text is too long, in bytes", MaxOutput}
	}
	o.buf = append(o.buf, s...)
	return nil
}

// mark appends a mark; its value and type count as output too.
func (o *output) mark(p Piece) error {
	if o.spent.marks++; o.spent.marks > MaxMarks {
		return &LimitError{"the template makes too many messages, media or sections", MaxMarks}
	}
	if o.spent.bytes += len(p.Value) + len(p.Type); o.spent.bytes > MaxOutput {
		return &LimitError{"the rendered text is too long, in bytes", MaxOutput}
	}
	o.flush()
	o.pieces = append(o.pieces, p)
	return nil
}

// flush makes a piece of the text in buf.
func (o *output) flush() {
	if len(o.buf) > 0 {
		o.pieces = append(o.pieces, Piece{Kind: Text, Value: string(o.buf)})
		o.buf = o.buf[:0]
	}
}

// fragment appends all pieces of a fragment. They were counted when the fragment was rendered and are counted again
// here, because a helper may return the same fragment many times.
func (o *output) fragment(f *Fragment) error {
	for _, p := range f.Pieces {
		var err error
		if p.Kind == Text {
			err = o.text(p.Value)
		} else {
			err = o.mark(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// indented writes f with indent before each of its lines, but not behind a last line
// break.
func (o *output) indented(f *Fragment, indent string) error {
	// fresh is true at the beginning of a line, where the indent is due. A mark is preceded by it like text.
	fresh := true
	for _, p := range f.Pieces {
		if p.Kind != Text {
			if fresh {
				if err := o.text(indent); err != nil {
					return err
				}
			}
			fresh = false
			if err := o.mark(p); err != nil {
				return err
			}
			continue
		}
		for rest := p.Value; rest != ""; {
			if fresh {
				if err := o.text(indent); err != nil {
					return err
				}
			}
			at := strings.IndexByte(rest, '\n') + 1
			if fresh = at > 0; !fresh {
				at = len(rest)
			}
			if err := o.text(rest[:at]); err != nil {
				return err
			}
			rest = rest[at:]
		}
	}
	return nil
}
