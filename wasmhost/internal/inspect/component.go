package inspect

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// A component is not run here. What is read of it tells its author what it is, and how to build
// the core module of the same source.

// Sections of a component (WebAssembly/component-model: design/mvp/Binary.md).
const (
	componentImports = 10
	componentExports = 11
)

// Bounds of what is told.
const (
	maxComponentNames = 6
	maxComponentName  = 80
	maxNamesRead      = 256 // of one section
)

// worldOf tells what a component imports and exports, as far as it can be read.
func worldOf(buf []byte) string {
	var imports, exports []string
	c := cursor{buf: buf[8:]}
	for len(c.buf) > 0 && !c.bad {
		id := c.byte()
		body := cursor{buf: c.take(c.u32())}
		switch id {
		case componentImports:
			imports = append(imports, body.names(body.importItem)...)
		case componentExports:
			exports = append(exports, body.names(body.exportItem)...)
		}
	}
	var parts []string
	for _, of := range []struct {
		verb  string
		names []string
	}{{"imports", imports}, {"exports", exports}} {
		if len(of.names) > 0 {
			parts = append(parts, of.verb+" "+listNames(of.names))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "; its world " + strings.Join(parts, " and ")
}

func listNames(names []string) string {
	shown := make([]string, 0, maxComponentNames)
	for _, name := range names[:min(len(names), maxComponentNames)] {
		if len(name) > maxComponentName {
			name = name[:maxComponentName] + "..."
		}
		shown = append(shown, fmt.Sprintf("%+q", name)) // of an upload: nothing in it steers a terminal
	}
	text := strings.Join(shown, ", ")
	if more := len(names) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// builders are the tools that leave their names in components, and how each makes what is run here.
var builders = []struct{ mark, hint string }{
	{"componentize-js", "upload the source itself: \"genkit-wasm upload FILE.js\", or FILE.ts; a script needs no build"},
	{"componentize-py", "components of Python have no core module to build; write the tool in another language, or as a script in TypeScript"},
	{"TinyGo", "build the core module of the same source: \"tinygo build -target=wasip1 -buildmode=c-shared -o tool.wasm .\""},
	{"Go cmd/compile", "build the core module of the same source: \"GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o tool.wasm .\""},
	{"rustc", "build the core module of the same source: \"cargo build --release --target wasm32-wasip1\", with crate-type = [\"cdylib\"]; the file is target/wasm32-wasip1/release/NAME.wasm"},
	{"clang", "build the core module of the same source: \"clang --target=wasm32-wasip1 -mexec-model=reactor -O2 -o tool.wasm tool.c\""},
}

// rebuildHint says how to make the core module of a component's source, going by the tool that has
// left its name in it.
func rebuildHint(buf []byte) string {
	for _, b := range builders {
		if bytes.Contains(buf, []byte(b.mark)) {
			return b.hint
		}
	}
	return "build the core module of the same source, for wasm32-wasip1 or wasm32-unknown-unknown, or take it out with \"wasm-tools component unbundle\""
}

// cursor reads what may end, or make no sense, at any byte.
type cursor struct {
	buf []byte
	bad bool
}

func (c *cursor) take(n uint32) []byte {
	if c.bad || uint64(n) > uint64(len(c.buf)) {
		c.bad, c.buf = true, nil
		return nil
	}
	taken := c.buf[:n]
	c.buf = c.buf[n:]
	return taken
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u32() uint32 {
	v, n := binary.Uvarint(c.buf)
	if n <= 0 || n > 5 || v > 1<<32-1 {
		c.bad, c.buf = true, nil
		return 0
	}
	c.buf = c.buf[n:]
	return uint32(v)
}

// names reads a list of items, up to the first that is not understood.
func (c *cursor) names(item func() string) (names []string) {
	for range c.u32() {
		name := item()
		if c.bad || len(names) == maxNamesRead {
			break
		}
		names = append(names, name)
	}
	return names
}

func (c *cursor) externName() string {
	kind := c.byte()
	name := string(c.take(c.u32()))
	if kind == 2 { // a version follows
		c.take(c.u32())
	}
	c.bad = c.bad || kind > 2
	return name
}

func (c *cursor) importItem() string {
	name := c.externName()
	c.externType()
	return name
}

func (c *cursor) exportItem() string {
	name := c.externName()
	if c.byte() == 0 { // a core sort has a second byte
		c.byte()
	}
	c.u32()
	if c.byte() == 1 {
		c.externType()
	}
	return name
}

func (c *cursor) externType() {
	switch kind := c.byte(); kind {
	case 0: // a core module
		c.byte()
		c.u32()
	case 2, 3: // a value or a type: equal to something, or some resource
		if c.byte() == 0 || kind == 2 {
			c.u32()
		}
	case 1, 4, 5: // a function, a component, an instance
		c.u32()
	default:
		c.bad = true
	}
}
