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
	// a request of 2
	// a request of 1
	// banana [3 0 0 0 0]
	// papaya [3 0 0 0 0]
	// kiwi [0 0 2 0 0]
}
