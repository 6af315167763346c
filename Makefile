# Two targets matter to a newcomer: run and test. `make help` lists the others.

# Pinned tools, one place.
APIDIFF       := v0.0.0-20261113113407-e3970619a1a4
GOVULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.9.0
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
DEADCODE      := golang.org/x/tools/cmd/deadcode@v0.49.0
BENCHSTAT     := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

GO    ?= go
ADDR  ?= 127.0.0.1:3400
DATA  ?= ./data
TOOLS := build/tools
# Nested modules: guests and their kit, which must not depend on this module.
NESTED := pdk/go pdk/conformance/go examples/textkit examples/guard bench/guests/gocalc test/oracle test/oracle/models
# Modules in Go that the linter and vet go through one by one.
LINTED := . pdk/go examples/textkit examples/guard test/oracle
# Guests without tests, which only GOOS=wasip1 can read.
GUESTS := pdk/conformance/go bench/guests/gocalc
# Beside this machine's own. What else is released differs from one of these in the processor alone.
TYPECHECKED := linux/arm64 darwin/arm64

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: engines
engines: ## get the engines of scripts, which the build embeds
	$(GO) run ./internal/jsengine/get cmd/genkit-wasm/engines

.PHONY: build
build: engines ## build the binary, bin/genkit-wasm
	$(GO) build -trimpath -tags javascript -o bin/genkit-wasm ./cmd/genkit-wasm

.PHONY: tools
tools: ## collect the example tools in build/tools (Go built here, the others prebuilt)
	@mkdir -p $(TOOLS)
	$(MAKE) --no-print-directory -C examples/textkit build OUT=$(CURDIR)/$(TOOLS)/textkit.wasm
	$(MAKE) --no-print-directory -C examples/guard build OUT=$(CURDIR)/$(TOOLS)/guard.wasm
	cp examples/guard/policy.json $(TOOLS)/guard.policy.json
	cp examples/calc/calc.wasm examples/units/units.wasm examples/approval/approval.wasm $(TOOLS)/
	$(GO) mod download github.com/extism/go-sdk
	cp "$$($(GO) list -m -f '{{.Dir}}' github.com/extism/go-sdk)/wasm/count_vowels.wasm" $(TOOLS)/vowels.wasm
	cp examples/vowels/descriptor.json $(TOOLS)/vowels.descriptor.json
	@chmod u+w $(TOOLS)/*

.PHONY: run
run: build tools ## build everything and start the server with the example tools
	bin/genkit-wasm serve --addr $(ADDR) --data $(DATA) --load $(TOOLS)

.PHONY: test
test: test-engine test-guests ## run all tests, those that try many things with fewer of them (see long)

.PHONY: test-engine test-guests
test-engine:
	$(GO) test -short -vet=off -shuffle=on -timeout 20m ./... # lint vets
test-guests:
	@for m in pdk/go examples/textkit examples/guard; do echo "cd $$m && go test ./..."; (cd $$m && $(GO) test -shuffle=on ./...) || exit 1; done

.PHONY: long
long: ## run what compares engines, the hostile corpus, the tools of all languages, and what kills servers, with all that they have
	$(GO) test -count=1 -shuffle=on -timeout 20m ./wasmhost/internal/meter ./wasmhost/internal/sandbox ./wasmhost/internal/verify ./wasmhost/internal/wasi ./wasmhost/hosttest
	$(GO) test -count=1 -shuffle=on -timeout 20m ./builtin/model/...
	$(GO) test -count=1 -timeout 20m -run 'TestNoKill|TestAModuleThatDescribesItselfIsShownWhole|TestAToolFromNewToAnAgent|TestBuildsAreReproducible|TestTheCookbookIsTrue|TestPagesOfLanguagesAreTrue|TestThePageForPeopleFromElsewhereIsTrue|TestTheModuleOfWitBindgenIsOfItsSources' ./wasmhost ./wasmhost/module ./wasmhost/server/... ./cmd/genkit-wasm

# Others' compilers compute, by themselves or behind a lock, and are most of what tests under the race detector wait for:
# they are left as they are. What calls them is watched, and so is all that locks, channels and Go statements order.
# A package that uses sync.Map (wazevoapi) or atomic.Pointer is none of them: their code is generic, each user has a copy of
# it, and where the linker takes an unwatched one for the whole program, what a map orders is told as a race.
UNWATCHED = $(addprefix github.com/tetratelabs/wazero/internal/engine/wazevo/,ssa frontend backend/...) github.com/evanw/esbuild/...
RACE_FLAGS = -race $(foreach p,$(UNWATCHED),-gcflags=$(p)=-race=false)

.PHONY: race race-flags
race: ## run all tests under the race detector (needs a C compiler; takes three times as long)
	@command -v "$${CC:-cc}" >/dev/null || { echo "the race detector needs a C compiler: install gcc or clang, or set CC"; exit 1; }
	CGO_ENABLED=1 $(GO) test $(RACE_FLAGS) -shuffle=on -timeout 20m $$($(GO) list ./... | grep -v /test/faces)

race-flags: # those flags, for one package: go test $(make -s race-flags) ./engine
	@echo '$(RACE_FLAGS)'

.PHONY: mutants
mutants: ## build sixty mutants of the meter and see the verifier or the prices catch each
	$(GO) test -count=1 -timeout 20m -run TestMutantsAreCaught ./wasmhost/internal/meter -mutants

.PHONY: vacuity
vacuity: ## run each hostile case without the limit that contains it, and see it fail (Linux)
	$(GO) test -count=1 -timeout 30m -run TestCasesFailWithoutTheirLimits ./wasmhost/hosttest -loosened

.PHONY: vet
vet: ## vet all modules, tests and files behind build tags too
	@for m in $(LINTED); do echo "cd $$m && go vet ./..."; (cd $$m && $(GO) vet ./...) || exit 1; done
	cd test/oracle && $(GO) vet -tags peers ./...
	$(GO) vet -tags test262 ./wasmhost
	@for m in $(GUESTS); do for tags in guest extism; do echo "cd $$m && GOOS=wasip1 go vet -tags $$tags ./..."; \
		(cd $$m && GOOS=wasip1 GOARCH=wasm $(GO) vet -tags $$tags ./...) || exit 1; done; done

.PHONY: lint
lint: vet ## vet, then run the linters, in all modules
	@for m in $(LINTED); do echo "cd $$m && golangci-lint run"; (cd $$m && $(GO) run $(GOLANGCI_LINT) run --config $(CURDIR)/.golangci.yml ./...) || exit 1; done

.PHONY: unreached
unreached: ## find functions that neither a program nor a test reaches
	@found="$$($(GO) run $(DEADCODE) -test ./...)" || exit 1; [ -z "$$found" ] || { echo "$$found"; echo "test them or remove them"; exit 1; }

.PHONY: cross
cross: ## check code and tests for other platforms (tests run on this one only)
	@echo "vet for windows/amd64"; CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) vet ./...
	@# For those that differ less, types are enough, which takes a sixth of the time: deadcode checks them, and fails on errors.
	@mkdir -p build && GOBIN="$(CURDIR)/build" $(GO) install $(DEADCODE)
	@for p in $(TYPECHECKED); do echo "types for $$p"; \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} build/deadcode -test ./... >/dev/null || exit 1; \
	done

.PHONY: vuln
vuln: ## look for known vulnerabilities in what is linked (asks the Go vulnerability database)
	$(GO) run $(GOVULNCHECK) ./...

.PHONY: fmt
fmt: ## format the code
	$(GO) run $(GOLANGCI_LINT) fmt ./...
	gofmt -w $(NESTED)

# A count such as 500x ends a target by itself; with a time, the end may fall into a run and fail it
# ("context deadline exceeded").
FUZZTIME ?= 2000x
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (a count, such as 500x, or a time, such as 10m)
	@GO="$(GO)" .ci/fuzz $(FUZZTIME)

COUNT ?= 6
.PHONY: bench
bench: ## measure and print one table with ratios to the native Go tool
	@mkdir -p build
	$(GO) test -run '^$$' -bench . -benchtime 300ms -count $(COUNT) ./bench | tee build/bench.txt
	$(GO) run $(BENCHSTAT) -col '/tool@(native_go wasm_c_genkit_v1 wasm_c_extism wasm_go_genkit_v1 wasm_go_encoding_json wasm_go_extism extism_sdk_c_reused extism_sdk_c_fresh_timeout extism_sdk_go_reused extism_sdk_go_fresh_timeout stdio_subprocess loopback_http)' -filter '.name:Add .unit:sec/op' build/bench.txt
	$(GO) test -run '^$$' -bench Neighbours -benchtime 1x ./wasmhost/internal/worker | tee build/neighbours.txt

.PHONY: oracle
oracle: ## run the same conversations through Genkit's own SDKs (downloads them)
	cd test/oracle && $(GO) vet -tags peers ./... && $(GO) test -count=1 ./... && $(GO) test -count=1 -tags peers ./...

.PHONY: faces
faces: ## drive the server and the Dev UI's API with Genkit's own command line and client (needs npm)
	npm --prefix test/faces ci --ignore-scripts --no-audit --no-fund
	$(GO) test -count=1 -timeout 20m ./test/faces/...

.PHONY: test262
test262: ## run test262's language part in the engine of scripts: make test262 TEST262=DIR (a copy of tc39/test262; 3 minutes)
	TEST262="$(abspath $(TEST262))" $(GO) test -count=1 -timeout 30m -tags test262 -run TestTest262 -v ./wasmhost

SCHEMATHESIS ?= schemathesis
.PHONY: openapi
openapi: build tools ## hold the server to its API document with schemathesis (see test/openapi/README.md)
	SCHEMATHESIS="$(SCHEMATHESIS)" test/openapi/run

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

.PHONY: apidiff
apidiff: ## compare the exported Go API with that of the last tag
	APIDIFF_VERSION=$(APIDIFF) .ci/apidiff

.PHONY: release
release: ## build archives, image, bills of materials and check sums in dist: make release VERSION=v0.1.0
	$(GO) run ./internal/release -version "$(VERSION)" -out dist

.PHONY: tidy
tidy: ## check that go.mod is tidy
	$(GO) mod tidy -diff

.PHONY: check
check: tidy lint test race ## everything that a change has to pass
	@test -z "$$(gofmt -l $(NESTED))" || { gofmt -l $(NESTED); echo "run make fmt"; exit 1; }

.PHONY: clean
clean: ## remove what was built
	rm -rf bin build dist
