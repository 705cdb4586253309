# Everything a developer or CI does here. `make help` lists it; a clean machine needs Go, and the rest is installed when missing.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The parts of `make test` share two cores and a database server: in order, whatever -j says.
.NOTPARALLEL:

MODULES := proto sdk controlplane dataplane authserver deploy
PACKAGES := $(MODULES:%=./%/...)
COMMANDS := ./controlplane/cmd/controlplane ./dataplane/cmd/dataplane ./authserver/cmd/authserver \
	./deploy/standalone/cmd/penstock-standalone ./sdk/cmd/penstock

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

GOLANGCI_LINT_VERSION := 2.15.0
# The version that proto/package.json pins.
BUF_VERSION := $(shell sed -n 's/.*"@bufbuild\/buf": "\([0-9.]*\)".*/\1/p' proto/package.json)
# Ignored by git and kept between runs; the version is in the path, so a bump installs anew.
GOLANGCI_LINT := .tools/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint
BUF := .tools/buf-$(BUF_VERSION)/buf
CLIENTS := deploy/e2e/clients
# The reference upstream of the conformance suite.
EVERYTHING_SERVER_VERSION := 1.8.0
EVERYTHING_SERVER := .tools/everything-server-$(EVERYTHING_SERVER_VERSION)/everything-server

# A fuzz function runs this long in `make test`; longer by hand: make fuzz FUZZTIME=10m.
FUZZTIME ?= 5s
# Arguments of the benchmark, see `go run ./deploy/bench -help`; a published number needs BENCH_ARGS=-full.
BENCH_ARGS ?=
# Arguments of the measurement of distribution, see `go run ./deploy/bench/distribution -help`.
DISTRIBUTION_ARGS ?=
BENCH_SYSTEMS ?= deploy/bench/systems/penstock.json

export PENSTOCK_DATA_DIR ?= $(CURDIR)/.penstock

##@ Use

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  \033[36m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: build ## Build and start Penstock on this machine with a demo gateway (data in .penstock/, see PENSTOCK_DATA_DIR)
	@exec bin/penstock-standalone --demo

.PHONY: build
build: ## Build the five binaries into bin/
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(COMMANDS)

##@ Change

.PHONY: generate
generate: $(BUF) ## Write generated code anew
	deploy/tools/generate.sh $(BUF) $(MODULES)

.PHONY: format
format: $(BUF) $(GOLANGCI_LINT) ## Format Go and proto files
	$(GOLANGCI_LINT) fmt $(MODULES)
	$(BUF) format -w

##@ Check

.PHONY: test
test: deps lint generate-check modules unit fuzz integration e2e-short conformance bench-smoke ## Everything: what has to pass before a change lands

.PHONY: deps
deps: $(GOLANGCI_LINT) $(BUF) clients ## Install what the checks need and is missing
	deploy/tools/install-packages.sh gcc nodejs postgresql redis chromium

.PHONY: lint
lint: $(GOLANGCI_LINT) $(BUF) ## Lint Go and proto files; check that every go.mod is tidy
	deploy/tools/lint-proto.sh $(BUF)
	deploy/tools/tidy-check.sh $(MODULES)
	$(GOLANGCI_LINT) run $(PACKAGES)

.PHONY: breaking
breaking: $(BUF) ## Compare the contracts with the latest release
	deploy/tools/breaking.sh $(BUF)

.PHONY: generate-check
generate-check: $(BUF) ## Check that `make generate` leaves no diff
	deploy/tools/generate-check.sh $(BUF) $(MODULES)

.PHONY: modules
modules: ## Build each module alone, without go.work
	deploy/tools/modules.sh $(MODULES)

.PHONY: unit
unit: ## Unit tests of the six modules under the race detector (architecture tests among them)
	pkgs=$$(go list $(PACKAGES) | grep -v '/deploy/e2e\(/\|$$\)'); \
	go test -race -timeout 5m -skip '^TestIntegration' $$pkgs

.PHONY: fuzz
fuzz: ## Run every fuzz function for FUZZTIME each
	deploy/tools/fuzz.sh $(FUZZTIME) $(MODULES)

.PHONY: integration
integration: ## Tests named TestIntegration…: against real servers (PostgreSQL, Redis, MCP servers in Node)
	deploy/tools/install-packages.sh gcc nodejs postgresql redis
	deploy/tools/integration.sh $(MODULES)

.PHONY: e2e
e2e: export E2E_FLEET := long
e2e: e2e-short ## The same with the fleet in its long form: 1,000 sessions, five nodes, outages of a minute

.PHONY: e2e-short
e2e-short: clients ## The product end to end: real clients and servers through a gateway, a fleet of processes that are killed in turn
	deploy/tools/install-packages.sh gcc postgresql redis chromium
	deploy/tools/e2e.sh

.PHONY: conformance
conformance: clients $(EVERYTHING_SERVER) ## The official MCP conformance suite, directly and through gateways: table, JSON and logs in deploy/conformance/out
	deploy/tools/install-packages.sh chromium
	go run ./deploy/conformance -reference $(EVERYTHING_SERVER)

.PHONY: bench
bench: build ## Measure against reference systems, first calls of new callers, 10 minutes of 1,000 sessions, how changes reach 1,000 nodes, and how well tools are found (25 minutes): tables, JSON and plots in deploy/bench/out
	go run ./deploy/bench -out deploy/bench/out $(BENCH_SYSTEMS:%=-system %) $(BENCH_ARGS)
	go run ./deploy/bench/first -out deploy/bench/out
	go run ./deploy/bench/soak -out deploy/bench/out
	go run ./deploy/bench/distribution -full -out deploy/bench/out $(DISTRIBUTION_ARGS)
	$(MAKE) bench-search

.PHONY: bench-search
bench-search: ## Find tools of real MCP servers by labelled queries: recall beside BM25 and substring search, tokens saved; in deploy/bench/out
	deploy/tools/install-packages.sh nodejs
	go run ./deploy/bench/search/record
	go run ./deploy/bench/search -out deploy/bench/out

.PHONY: bench-search-embeddings
bench-search-embeddings: clients ## The same over what bench-search has recorded, with rows re-ranked by a small real model
	exec 3< <(exec node $(CLIENTS)/embeddings/server.mjs); server=$$!; trap 'kill $$server' EXIT; read -r url <&3; \
	go run ./deploy/bench/search -out deploy/bench/out -embeddings "$$url" -model universal-sentence-encoder-lite

.PHONY: bench-scale
bench-scale: ## Load 10,000 gateways and 100,000 tools into a node: memory and times, in deploy/bench/out
	go run ./deploy/bench/scale -out deploy/bench/out/scale.json

.PHONY: bench-smoke
bench-smoke: build ## Drive every system of the benchmark for a moment; checks answers, publishes no figure
	go run ./deploy/bench -smoke $(BENCH_SYSTEMS:%=-system %)
	go run ./deploy/bench/first -smoke
	go run ./deploy/bench/soak -sessions 100 -duration 6s -every 2s
	go run ./deploy/bench/distribution -smoke

##@ Tools

.PHONY: clients
clients: $(CLIENTS)/node_modules/.package-lock.json ## Install the MCP clients and servers of the end-to-end tests

$(CLIENTS)/node_modules/.package-lock.json: $(CLIENTS)/package-lock.json
	deploy/tools/install-packages.sh nodejs
	npm ci --prefix $(CLIENTS) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(GOLANGCI_LINT):
	@echo "installing golangci-lint $(GOLANGCI_LINT_VERSION), some minutes once"
	GOBIN=$(CURDIR)/$(@D) GOWORK=off GOFLAGS= go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_LINT_VERSION)

$(EVERYTHING_SERVER):
	GOBIN=$(CURDIR)/$(@D) GOWORK=off GOFLAGS= go install github.com/modelcontextprotocol/go-sdk/conformance/everything-server@v$(EVERYTHING_SERVER_VERSION)

$(BUF):
	deploy/tools/install-packages.sh nodejs
	deploy/tools/install-buf.sh $(@D)

.PHONY: clean
clean: ## Remove what was built; tools and data stay
	rm -rf bin deploy/bench/out deploy/conformance/out deploy/e2e/out
