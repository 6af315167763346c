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
	// done=false title="Te" steps=[]
	// done=false title="Tea" steps=["boil wa"]
	// done=false title="Tea" steps=["boil water" "wait"]
	// done=true title="Tea" steps=["boil water" "wait"]
}
