package meter

import (
	"math"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/inspect"
)

// region is a set of instructions that is charged in one place, because they all execute exactly when the place does.
type region struct {
	cost   int64
	parent int32 // the region it branches off from, which executes at least as often; -1 for the function
	check  bool  // the host is called when fuel has run out: function entry and loop heads
}

// block is an open block of the function being planned.
type block struct {
	op     inspect.Op
	head   int32 // region in which it was entered
	own    int32 // region of a loop
	live   bool  // it can be entered at all
	then   bool  // the end of the first arm of an if with an else can be reached
	joined bool  // a branch leads to its label
	out    int   // outermost block that a branch from inside leads to
}

// edit is one change to a body: what stands from at to end is replaced.
type edit struct {
	at, end int
	kind    editKind
	region  int32  // of a charge
	index   uint32 // of a function, already moved
	shift   int    // of a length
}

type editKind uint8

const (
	editCharge editKind = iota
	editFunc
	editLength
)

// plan decides, for one body, which regions there are and where they are charged.
type plan struct {
	regions []region
	blocks  []block
	edits   []edit
	cur     int32 // region that the next instruction belongs to
	live    bool  // the next instruction can be reached
	lengths bool  // a length is charged, which needs a local
}

func (p *plan) reset() {
	*p = plan{regions: p.regions[:0], blocks: p.blocks[:0], edits: p.edits[:0], live: true}
}

// start begins a region that is charged at the given offset.
func (p *plan) start(at int, parent int32, check bool) int32 {
	n := int32(len(p.regions))
	p.regions = append(p.regions, region{parent: parent, check: check})
	p.edits = append(p.edits, edit{at: at, end: at, kind: editCharge, region: n})
	return n
}

// body plans the body b. first is the function index from which on indices move up.
func (p *plan) body(m *inspect.Module, b inspect.Body, first uint32) {
	p.reset()
	p.cur = p.start(b.Code, -1, true)
	p.blocks = append(p.blocks, block{op: inspect.OpBlock, live: true, out: math.MaxInt})
	walk := m.Instructions(b)
	for in := walk.Next(); in != nil; in = walk.Next() {
		p.instruction(in, first)
	}
	p.fold()
}

func (p *plan) instruction(in *inspect.Instruction, first uint32) {
	if p.live && in.Op != inspect.OpLoop { // a loop is paid for by its own region
		p.regions[p.cur].cost += Weight(in.Op)
	}
	switch in.Op {
	case inspect.OpBlock, inspect.OpLoop, inspect.OpIf:
		p.open(in)
	case inspect.OpElse:
		p.otherwise(in)
	case inspect.OpEnd:
		p.close(in)
	case inspect.OpBr:
		p.branch(in.Index)
		p.live = false
	case inspect.OpBrIf:
		p.branch(in.Index)
		if p.live {
			p.cur = p.start(in.End, p.cur, false)
		}
	case inspect.OpBrTable:
		for _, label := range in.Targets {
			p.branch(label)
		}
		p.live = false
	case inspect.OpReturn:
		p.branch(uint32(len(p.blocks) - 1))
		p.live = false
	case inspect.OpUnreachable:
		p.live = false
	case inspect.OpCall, inspect.OpRefFunc:
		if in.Index >= first {
			p.edits = append(p.edits, edit{at: in.Offset + 1, end: in.End, kind: editFunc, index: in.Index + 1})
		}
	default:
		if shift, priced := lengthPrice(in.Op); priced && p.live {
			p.lengths = true
			p.edits = append(p.edits, edit{at: in.Offset, end: in.Offset, kind: editLength, shift: shift})
		}
	}
}

func (p *plan) open(in *inspect.Instruction) {
	b := block{op: in.Op, head: p.cur, live: p.live, out: math.MaxInt}
	if p.live {
		switch in.Op {
		case inspect.OpLoop:
			p.cur = p.start(in.End, p.cur, true)
			p.regions[p.cur].cost = weightSimple
			b.own = p.cur
		case inspect.OpIf:
			p.cur = p.start(in.End, p.cur, false)
		}
	}
	p.blocks = append(p.blocks, b)
}

func (p *plan) otherwise(in *inspect.Instruction) {
	b := &p.blocks[len(p.blocks)-1]
	b.op, b.then = inspect.OpElse, p.live
	if p.live = b.live; p.live {
		p.cur = p.start(in.End, b.head, false)
	}
}

// branch notes a jump to a label. Labels beyond the function are not there in validated code.
func (p *plan) branch(label uint32) {
	if !p.live || int64(label) >= int64(len(p.blocks)) {
		return
	}
	target := len(p.blocks) - 1 - int(label)
	p.blocks[target].joined = true
	top := &p.blocks[len(p.blocks)-1]
	top.out = min(top.out, target)
}

// close ends a block. When control can only leave it through its end, what follows runs as often as what came before
// it and goes on with the same region.
func (p *plan) close(in *inspect.Instruction) {
	last := len(p.blocks) - 1
	b := p.blocks[last]
	p.blocks = p.blocks[:last]
	if last == 0 {
		return
	}
	outer := &p.blocks[last-1]
	outer.out = min(outer.out, b.out)
	if !b.live {
		p.live = false
		return
	}
	straight := !b.joined && (b.op == inspect.OpBlock || b.op == inspect.OpLoop)
	switch b.op {
	case inspect.OpLoop:
		if !b.joined {
			p.regions[b.own].check = false
		}
	case inspect.OpIf:
		p.live = true
	case inspect.OpElse:
		p.live = p.live || b.then || b.joined
	default:
		p.live = p.live || b.joined
	}
	switch {
	case straight || !p.live:
	case b.out >= last:
		p.cur = b.head
	default:
		p.cur = p.start(in.End, b.head, false)
	}
}

// fold moves cheap regions to the ones that they branch off from. Later regions are visited first, so that what has
// been moved moves on.
func (p *plan) fold() {
	for i := len(p.regions) - 1; i > 0; i-- {
		r := &p.regions[i]
		if !r.check && r.cost <= FoldedCost {
			p.regions[r.parent].cost += r.cost
			r.cost = 0
		}
	}
}

// debt is the most that one pass through the function can charge between two checks.
func (p *plan) debt() int64 {
	var sum int64
	for _, r := range p.regions {
		sum += r.cost
	}
	return sum
}
