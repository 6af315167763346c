package main

import (
	"context"
	"fmt"
	"os"
)

func Example() {
	dir, err := os.MkdirTemp("", "rag")
	if err == nil {
		err = run(context.Background(), dir)
		_ = os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// 1 the shark does eat fish
	// 0 the cow does eat grass
	// I have read that the shark does eat fish.
}
