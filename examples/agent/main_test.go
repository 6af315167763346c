package main

import (
	"context"
	"fmt"
	"os"
)

func Example() {
	dir, err := os.MkdirTemp("", "conversations")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	for range 2 {
		if err := run(context.Background(), dir); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// replace ["tea"]
	// stop It is on the list.
	// replace ["tea","tea"]
	// stop It is on the list.
}
