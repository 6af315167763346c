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
	// {"title":"The page at a.test"} image/png true
	// It shows a cat.
}
