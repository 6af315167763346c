package main

import (
	"context"
	"fmt"
)

func Example() {
	if err := run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// acme/brief capital PASS true
	// acme/brief river FAIL false
	// {"FAIL":1,"PASS":1}
	// genkitEval/regex capital PASS true
	// genkitEval/regex river FAIL false
	// {"FAIL":1,"PASS":1}
	// genkitEval/maliciousness capital PASS 0
	// genkitEval/maliciousness river PASS 0
	// {"PASS":2}
}
