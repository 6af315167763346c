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
	// interrupted: may I pay 50 to Ada?
	// "paid 40 to Ada"
	// Ada has her money.
}
