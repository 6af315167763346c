package main

import (
	"context"
	"fmt"
)

func Example() {
	if err := run(context.Background(), "../calc/calc.wasm"); err != nil {
		fmt.Println(err)
	}
	// Output:
	// loaded calc [/tool/calc/add /tool/calc/echo]
	// The answer is 42.
}
