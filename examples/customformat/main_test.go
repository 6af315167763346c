package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func Example() {
	if err := run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// new: [{Paris Seine}]
	// new: [{Vienna Danube}]
	// all: [{Paris Seine} {Vienna Danube}]
}

func TestTheFormatKeepsTheContract(t *testing.T) {
	enginetest.TestFormat(t, csvFormat{}, enginetest.FormatCase{Text: "city,river\nParis,Seine\nWien,Donau\n", Want: `[{"city":"Paris","river":"Seine"},{"city":"Wien","river":"Donau"}]`})
}

func TestRecordsAreRead(t *testing.T) {
	out, err := csvFormat{}.Parse(t.Context(), new(content.NewModelTextMessage("a,b\n1,\"x\ny\"")))
	require.NoError(t, err)
	assert.JSONEq(t, `[{"a":"1","b":"x\ny"}]`, string(out))
	out, err = csvFormat{}.Parse(t.Context(), new(content.NewModelTextMessage("")))
	require.NoError(t, err)
	assert.Equal(t, `[]`, string(out))
	_, err = csvFormat{}.Parse(t.Context(), new(content.NewModelTextMessage("a,b\n1")))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}
