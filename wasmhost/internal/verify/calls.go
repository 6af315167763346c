package verify

// functions compares every function and proves the rules, each function after those that it calls.
func (c *checker) functions() {
	if c.err != nil {
		return
	}
	n := len(c.old.Functions)
	if len(c.claim.Order) != n {
		c.fail("an order of %d functions out of %d", len(c.claim.Order), n)
		return
	}
	for _, h := range c.claim.Hubs {
		if int64(h.Func) >= int64(n) || h.Pre < 0 || h.Pre > MaxWork {
			c.fail("a hub that can't be")
			return
		}
		c.summaries[h.Func] = summary{done: true, hub: true, deep: true, pre: h.Pre, thru: h.Pre}
	}
	seen := make([]bool, n)
	c.body.checker = c
	for _, i := range c.claim.Order {
		if int64(i) >= int64(n) || seen[i] {
			c.fail("an order that is none")
			return
		}
		seen[i] = true
		if !c.function(int(i)) {
			return
		}
	}
}

// function compares and proves one function.
func (c *checker) function(i int) bool {
	b := &c.body
	b.align(i)
	if b.fault == "" {
		b.follow()
	}
	was, self := &c.summaries[i], &b.flow.self
	if b.fault == "" && was.hub && max(self.pre, self.thru) > was.pre {
		b.refuse("a hub does %d units of work before a check and claims %d", max(self.pre, self.thru), was.pre)
	}
	if b.fault != "" {
		if c.err == nil {
			c.err = &Failure{Func: i, Offset: b.at, Reason: b.fault}
		}
		return false
	}
	if !was.hub {
		*was = *self
		was.done = true
	}
	return true
}
