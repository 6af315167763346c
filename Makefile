# Two targets matter to a newcomer: run and test. `make help` lists the others.

# Pinned tools, one place.
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BENCHSTAT     := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

GO    ?= go
ADDR  ?= 127.0.0.1:3400
DATA  ?= ./data
TOOLS := build/tools
# Nested modules: guests and their kit, which must not depend on this module.
NESTED := pdk/go pdk/conformance/go examples/textkit examples/guard bench/guests/gocalc test/oracle
# The race detector needs a C compiler.
RACE := $(shell command -v "$${CC:-cc}" >/dev/null 2>&1 && echo -race)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the binary, bin/genkit-wasm
	$(GO) build -trimpath -o bin/genkit-wasm ./cmd/genkit-wasm

.PHONY: tools
tools: ## collect the example tools in build/tools (Go built here, the others prebuilt)
	@mkdir -p $(TOOLS)
	$(MAKE) --no-print-directory -C examples/textkit build OUT=$(CURDIR)/$(TOOLS)/textkit.wasm
	$(MAKE) --no-print-directory -C examples/guard build OUT=$(CURDIR)/$(TOOLS)/guard.wasm
	cp examples/calc/calc.wasm examples/units/units.wasm examples/approval/approval.wasm $(TOOLS)/
	cp "$$($(GO) list -m -f '{{.Dir}}' github.com/extism/go-sdk)/wasm/count_vowels.wasm" $(TOOLS)/vowels.wasm
	cp examples/vowels/descriptor.json $(TOOLS)/vowels.descriptor.json
	@chmod u+w $(TOOLS)/*

.PHONY: run
run: build tools ## build everything and start the server with the example tools
	bin/genkit-wasm serve --addr $(ADDR) --data $(DATA) --load $(TOOLS)

.PHONY: test
test: ## run all tests, with the race detector where there is a C compiler
	$(GO) vet ./...
	$(GO) test $(RACE) -shuffle=on -timeout 20m ./...
	@for m in pdk/go examples/textkit examples/guard; do echo "cd $$m && go test ./..."; (cd $$m && $(GO) vet ./... && $(GO) test -shuffle=on ./...) || exit 1; done

.PHONY: lint
lint: ## run the linters
	$(GO) run $(GOLANGCI_LINT) run ./...

.PHONY: fmt
fmt: ## format the code
	$(GO) run $(GOLANGCI_LINT) fmt ./...
	gofmt -w $(NESTED)

# A count such as 500x ends a target by itself; with a time, the end may fall into a run and fail it
# ("context deadline exceeded").
FUZZTIME ?= 2000x
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (a count, such as 500x, or a time, such as 10m)
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; \
	done

COUNT ?= 6
.PHONY: bench
bench: ## measure and print one table with ratios to the native Go tool
	@mkdir -p build
	$(GO) test -run '^$$' -bench . -benchtime 300ms -count $(COUNT) ./bench | tee build/bench.txt
	$(GO) run $(BENCHSTAT) -col '/tool@(native_go wasm_c_genkit_v1 wasm_c_extism wasm_go_genkit_v1 wasm_go_extism extism_sdk_c_reused extism_sdk_c_fresh_timeout extism_sdk_go_reused extism_sdk_go_fresh_timeout stdio_subprocess loopback_http)' -filter '.name:Add .unit:sec/op' build/bench.txt

.PHONY: oracle
oracle: ## run the same conversations through Genkit's own SDKs (downloads them)
	cd test/oracle && $(GO) vet -tags peers ./... && $(GO) test -count=1 ./... && $(GO) test -count=1 -tags peers ./...

.PHONY: faces
faces: ## drive the server and the Dev UI's API with Genkit's own command line and client (needs npm)
	npm --prefix test/faces ci --ignore-scripts --no-audit --no-fund
	$(GO) test -count=1 -timeout 20m ./test/faces/...

.PHONY: peers
peers: ## measure generate calls, flows and vector search beside genkit/go, eino and others
	cd test/oracle && $(GO) run -tags peers ./bench -rounds 7
	cd test/oracle && $(GO) run -tags peers ./flowbench
	cd test/oracle && $(GO) run -tags peers ./vectors

.PHONY: guests
guests: ## rebuild the prebuilt guests from source (needs clang, rustc, npm) and show what changed
	$(MAKE) -B -C examples/calc build
	$(MAKE) -B -C pdk/conformance/c build
	$(MAKE) -B -C bench/guests build
	$(MAKE) -B -C examples/approval build
	$(MAKE) -B -C examples/weather build
	$(MAKE) -B -C examples/units build
	git status --short -- '*.wasm'

.PHONY: tidy
tidy: ## check that go.mod is tidy
	$(GO) mod tidy -diff

.PHONY: check
check: tidy lint test ## everything that a change has to pass
	@test -z "$$(gofmt -l $(NESTED))" || { gofmt -l $(NESTED); echo "run make fmt"; exit 1; }

.PHONY: clean
clean: ## remove what was built
	rm -rf bin build
