package handlebars

import "strings"

// Kind says what a piece of a rendering is.
type Kind int

// The kinds of piece.
const (
	Text    Kind = iota // Value is the text
	Role                // here begins a message of the role Value
	History             // here stands the history
	Media               // Value is the URL, Type the content type or ""
	Section             // Value is the name of a section that is filled later
)

// Piece is a part of what was rendered: text, or a mark. Marks come from helpers
// alone.
type Piece struct {
	Kind  Kind
	Value string
	Type  string
}

// Fragment is what a helper returns to put marks into the output, and what it gets
// when it renders its block. As a text it is its text pieces.
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

// spent is what one rendering has used up; all its outputs share it.
type spent struct {
	steps, bytes, marks int
}

// output collects pieces. Text that follows text becomes one piece.
type output struct {
	pieces []Piece
	buf    []byte
	spent  *spent
}

func (o *output) text(s string) error {
	if o.spent.bytes += len(s); o.spent.bytes > MaxOutput {
		return &LimitError{"the rendered text is too long, in bytes", MaxOutput}
	}
	o.buf = append(o.buf, s...)
	return nil
}

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

func (o *output) flush() {
	if len(o.buf) > 0 {
		o.pieces = append(o.pieces, Piece{Kind: Text, Value: string(o.buf)})
		o.buf = o.buf[:0]
	}
}

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
