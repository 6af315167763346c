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
	// buy fish
	// Finding Nemo 2003
	// INVALID_ARGUMENT: invalid input to action "/retriever/films": Schema validation failed. Parse Errors:
	// - /options/year: minimum: got 1, want 1888
}
