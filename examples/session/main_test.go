package main

import (
	"context"
	"fmt"
	"os"
)

func Example() {
	dir, err := os.MkdirTemp("", "sessions")
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
	// Welcome. {"visits":1} 5 messages
	// Welcome. {"visits":2} 9 messages
}
