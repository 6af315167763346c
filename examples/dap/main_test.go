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
	// asking the shop what it has
	// /dynamic-action-provider/shop
	// /dynamic-action-provider/shop:tool/price
	// /dynamic-action-provider/wasm/acme
	// /tool/calc/add
	// /tool/calc/echo
	// Eight.
}
