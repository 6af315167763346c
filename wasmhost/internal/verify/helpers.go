package verify

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// The functions that the meter adds have to be exactly these. They are written as bytes in hexadecimal, with the names of
// the instructions beside them; :N is a signed number, $name the index of something, and @name one of the stretches below.
var texts = map[string]string{
	// check calls the host when fuel is below zero.
	"check": `23 $fuel 42 00 59 04 40 05 10 $yield 0b`, // global.get, i64.const 0, i64.ge_s, if, else, call, end
	// price charges for the number on the stack, a length, which stays there, and checks.
	"price": `22 03 23 $fuel 20 03 ad 42 04 88 7d 24 $fuel @check`, // local.tee 3, …, i64.extend_i32_u, i64.const 4, i64.shr_u, i64.sub
	// all pushes the operands of the helper.
	"all": `20 00 20 01 20 02`,
	// long tells whether the length is more than a piece.
	"short": `20 02 41 :65536 4d`, // local.get 2, i32.const 65536, i32.le_u
	// to and from tell whether a range ends outside memory, in 64 bits.
	"to":   `20 00 ad 20 02 ad 7c 3f 00 ad 42 10 86 56`, // … i64.add, memory.size, i64.const 16, i64.shl, i64.gt_u
	"from": `20 01 ad 20 02 ad 7c 3f 00 ad 42 10 86 56`,
	// piece sets local 3 to the lesser of the length and a piece, and pays for it.
	"piece": `20 02 41 :65536 20 02 41 :65536 49 1b @price 1a`, // … i32.lt_u, select, …, drop
	// less takes the piece off the length, again begins another round unless that is zero.
	"less":  `20 02 20 03 6b 21 02`,
	"again": `20 02 0d 00 0b`,
	"next0": `20 00 20 03 6a 21 00`,
	"next1": `20 01 20 03 6a 21 01`,

	"checkBody": `00 @check 0b`,
	"fillBody": `01 01 7f
		@short 04 40 @all @price fc 0b 00 0f 0b
		@to 04 40 @all @price fc 0b 00 0f 0b
		03 40 @piece 20 00 20 01 20 03 fc 0b 00 @next0 @less @again
		0b`,
	"copyBody": `01 01 7f
		@short 04 40 @all @price fc 0a 00 00 0f 0b
		@to @from 72 04 40 @all @price fc 0a 00 00 0f 0b
		20 00 20 01 4d 04 40
			03 40 @piece 20 00 20 01 20 03 fc 0a 00 00 @next0 @next1 @less @again
		05
			03 40 @piece @less 20 00 20 02 6a 20 01 20 02 6a 20 03 fc 0a 00 00 @again
		0b
		0b`,

	// read gives the word at an offset: one of those that were read ahead, or else the first of eight that it asks the host for.
	"readBody": `01 01 7e
		20 00 23 $base 7d 22 01 23 $ahead 54 04 40
			02 40 02 40 02 40 02 40 02 40 02 40 02 40 02 40
			20 01 a7 0e 40
				00 08 08 08 08 08 08 08 01 08 08 08 08 08 08 08 02 08 08 08 08 08 08 08 03 08 08 08 08 08 08 08
				04 08 08 08 08 08 08 08 05 08 08 08 08 08 08 08 06 08 08 08 08 08 08 08 07 08 08 08 08 08 08 08 08
			0b 23 $in0 0f 0b 23 $in1 0f 0b 23 $in2 0f 0b 23 $in3 0f 0b 23 $in4 0f 0b 23 $in5 0f 0b 23 $in6 0f 0b 23 $in7 0f
		0b
		20 00 10 $readAhead 24 $in7 24 $in6 24 $in5 24 $in4 24 $in3 24 $in2 24 $in1 24 $in0
		20 00 24 $base 42 :64 24 $ahead 23 $in0 0b`,
	// after notes that a word waits; done leaves the function.
	"after": `20 00 42 08 7c 24 $next 0f`,
	// write keeps a word that follows the one before for the host, as long as there is room, or has the host store it.
	"writeBody": `00
		20 00 23 $next 51 04 40
			02 40 02 40 02 40 02 40 02 40 02 40 02 40 02 40
			23 $pending 0e 08 00 01 02 03 04 05 06 07 08
			0b 20 01 24 $out0 41 01 24 $pending @after
			0b 20 01 24 $out1 41 02 24 $pending @after
			0b 20 01 24 $out2 41 03 24 $pending @after
			0b 20 01 24 $out3 41 04 24 $pending @after
			0b 20 01 24 $out4 41 05 24 $pending @after
			0b 20 01 24 $out5 41 06 24 $pending @after
			0b 20 01 24 $out6 41 07 24 $pending @after
			0b 20 01 24 $out7 41 08 24 $pending @after
		0b
		20 00 20 01 10 $write 0b`,
}

// assemble turns one of the texts into bytes.
func (c *checker) assemble(dst []byte, name string) []byte {
	for word := range strings.FieldsSeq(texts[name]) {
		switch word[0] {
		case '@':
			dst = c.assemble(dst, word[1:])
		case '$':
			dst = appendU32(dst, c.index(word[1:]))
		case ':':
			n, _ := strconv.ParseInt(word[1:], 10, 64) // the texts are constants
			dst = appendS64(dst, n)
		default:
			b, _ := strconv.ParseUint(word, 16, 8)
			dst = append(dst, byte(b))
		}
	}
	return dst
}

// index is the index of what a text names.
func (c *checker) index(name string) uint32 {
	switch name {
	case "fuel":
		return c.fuel
	case "yield":
		return c.yield
	case "readAhead":
		return c.yield + 1
	case "base":
		return c.words.base
	case "ahead":
		return c.words.base + 1
	case "next":
		return c.words.next
	case "pending":
		return c.words.next + 1
	case "write":
		return c.words.write
	}
	n := uint32(name[len(name)-1] - '0')
	if strings.HasPrefix(name, "in") {
		return c.words.base + 2 + n
	}
	return c.words.next + 2 + n // out
}

// keptWords is how many words are read ahead, or wait to be stored.
const keptWords = 8

// findWords finds out which imports may have functions of the module in their place.
func (c *checker) findWords() {
	next := c.fuel + 1
	c.extra = c.imports + 1 + uint32(len(c.old.Functions))
	const i64 = inspect.I64
	reads := c.imported(c.claim.Reads, []inspect.ValType{i64}, []inspect.ValType{i64})
	writes := c.imported(c.claim.Writes, []inspect.ValType{i64, i64}, nil)
	if len(reads) > 0 {
		c.words.reads, c.words.base = true, next
		next += 2 + keptWords
		c.moved++
		c.extra++
	}
	if len(writes) > 0 {
		c.words.writes, c.words.next, c.words.write = true, next, writes[0]
	}
	for _, group := range [][]uint32{reads, writes} {
		for _, i := range group {
			c.instead[i] = c.extra + uint32(len(c.words.types))
		}
		if len(group) > 0 {
			c.words.types = append(c.words.types, c.old.Imports[group[0]].Type)
		}
	}
}

// addedFunctions compares the functions that the meter has added, and learns which there are.
func (c *checker) addedFunctions() {
	if c.err != nil {
		return
	}
	if !has(c.old, inspect.SectionFunction) {
		c.want(len(c.new.Functions) == 0, "functions were added to a module without any")
		return
	}
	var names []string
	types := c.words.types
	if c.words.reads {
		names = append(names, "readBody")
	}
	if c.words.writes {
		names = append(names, "writeBody")
	}
	own := uint32(len(c.old.Types)) // of yield; the one after it has three parameters
	helpers := len(c.new.Functions) - len(c.old.Functions) - len(names)
	next := c.extra + uint32(len(names))
	switch helpers {
	case 0:
	case 1:
		c.check, names, types = next, append(names, "checkBody"), append(types, own)
	case 3:
		c.check, c.fill, c.copies = next, next+1, next+2
		names, types = append(names, "checkBody", "fillBody", "copyBody"), append(types, own, own+1, own+1)
	default:
		c.fail("%d helpers", helpers)
		return
	}
	for i, name := range names {
		n := len(c.old.Functions) + i
		b := c.new.Bodies[n]
		c.want(c.new.Functions[n] == types[i], "the type of %s", name)
		c.want(bytes.Equal(c.to[b.Start:b.End], c.assemble(nil, name)), "the code of %s", name)
	}
}

// imported returns the indices of an import of that name and type.
func (c *checker) imported(name Import, params, results []inspect.ValType) (found []uint32) {
	for i, imp := range c.old.Imports {
		t := c.old.Types[imp.Type]
		if (Import{imp.Module, imp.Name}) == name && slices.Equal(t.Params, params) && slices.Equal(t.Results, results) {
			found = append(found, uint32(i))
		}
	}
	return found
}

func has(m *inspect.Module, id byte) bool {
	return slices.ContainsFunc(m.Sections, func(s inspect.Section) bool { return s.ID == id })
}
