package main

import (
	"os"
	"strings"
	"testing"
)

func TestTheListIsThatOfTheModule(t *testing.T) {
	var now strings.Builder
	if err := list(t.Context(), &now); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile("genkit-go.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(kept) != now.String() {
		t.Error("genkit-go.txt is not what the module exports: run go run ./names > names/genkit-go.txt")
	}
}
