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
	// listed: zoo/grey
	// the zoo opens
	// zoo/grey says HELLO
	// zoo/lory says hello?
}
