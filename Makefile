# The targets of everyday work; .ci/run is what must pass. `make help` lists them.
BIN := $(CURDIR)/.bin
MODULES := . bench interop store/boltstore store/mongostore store/mongostore/ferret store/sqlstore
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
VULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.8.0
FUZZTIME := 30s
TARGET := .
SOAKTIME := 30m
KILLS := 1000

.PHONY: help test race cover lint fix tidy fuzz interop bench soak killtest mutants words tools modules check

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

test: ## test the product's modules
	go test work

race: ## the same under the race detector
	go test -race work

cover: ## coverage of the root package
	@mkdir -p $(BIN)
	go test -coverpkg=. -coverprofile=$(BIN)/cover.out . $$(go list ./internal/... | grep /internal/tests/)
	go tool cover -func=$(BIN)/cover.out | tail -n 1

lint: tools ## linters, all modules
	for m in $(MODULES); do (cd $$m && GOWORK=off $(BIN)/golangci-lint run --timeout 0 -c $(CURDIR)/.golangci.yml ./... && GOWORK=off $(BIN)/staticcheck ./...) || exit 1; done

fix: ## what go fix would modernize; nothing, if all is well
	go fix -diff ./...

tidy: ## go.mod files that are not tidy
	for m in $(MODULES); do (cd $$m && GOWORK=off go mod tidy -diff) || exit 1; done

fuzz: ## every fuzz target for FUZZTIME, or those that match TARGET
	.ci/fuzz $(FUZZTIME) '$(TARGET)'

interop: ## other people's tests and programs against everfresh
	cd interop && GOWORK=off go test ./...

bench: ## everything in bench/README.md again
	cd bench && GOWORK=off go run . && GOWORK=off go run . -table

soak: ## faults over loopback for SOAKTIME
	EVERFRESH_SOAK=$(SOAKTIME) go test -run '^TestSoak$$' -timeout 0 -v ./$$(dirname $$(git grep --untracked -l '^func TestSoak('))

killtest: ## kill a process that writes to a filestore KILLS times
	go test -run '^TestKill$$' -count=1 -timeout 0 -v ./store/filestore -kills=$(KILLS)

mutants: ## the hand-made mutations that tests must catch
	go run ./internal/mutants

words: ## the words that this project does not use, in code, docs and errors
	@go run ./internal/words

tools: ## linters at the versions above, into .bin
	@mkdir -p $(BIN)
	@test -x $(BIN)/golangci-lint || GOWORK=off GOBIN=$(BIN) go install $(GOLANGCI)
	@test -x $(BIN)/staticcheck || GOWORK=off GOBIN=$(BIN) go install $(STATICCHECK)
	@test -x $(BIN)/govulncheck || GOWORK=off GOBIN=$(BIN) go install $(VULNCHECK)

modules: # the folders of all modules, for .ci/run
	@echo $(MODULES)

check: ## all that CI checks
	.ci/run
