# make help tells what there is. Everything but build, install and help wants root.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

export PATH := /usr/local/go/bin:$(PATH)
export CGO_ENABLED := 0
export GOFLAGS := -buildvcs=false

PREFIX ?= /usr/local
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.release=$(VERSION)
FUZZTIME ?= 20s
RUNS ?= 10
KILLS ?= 2000
FAULTS ?= 500
TIMEOUT ?= 25m
TESTS ?= TestPrograms

.PHONY: help build install man demo test vet unit race e2e bench lint fuzz fuzz-short faults load guest deps clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The linker writes through a mapping, which leaves the file in single pages in the page cache: each start takes 0.6 ms
# longer than that of a copy, which is there in large folios, as after a boot.
build: deps-go ## bin/rethaw, one static binary
	@mkdir -p bin
	@go build -trimpath -ldflags '$(LDFLAGS)' -o bin/.linked ./cmd/rethaw
	@install -m 0755 bin/.linked bin/.rethaw && mv bin/.rethaw bin/rethaw && rm bin/.linked

install: build man ## below PREFIX (/usr/local): the program, its man pages, completion for bash, zsh and fish
	@install -D -m 0755 bin/rethaw $(DESTDIR)$(PREFIX)/bin/rethaw
	@install -d $(DESTDIR)$(PREFIX)/share/man/man1
	@install -m 0644 bin/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	@bin/rethaw completion bash | install -D -m 0644 /dev/stdin $(DESTDIR)$(PREFIX)/share/bash-completion/completions/rethaw
	@bin/rethaw completion zsh | install -D -m 0644 /dev/stdin $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_rethaw
	@bin/rethaw completion fish | install -D -m 0644 /dev/stdin $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/rethaw.fish
	@echo "installed $(DESTDIR)$(PREFIX)/bin/rethaw"

man: deps-go ## the man pages, into bin/man
	@rm -rf bin/man && mkdir -p bin/man
	@go run -tags man ./cmd/rethaw man bin/man

demo: deps-demo build ## a counting container is checkpointed, looked at, restored, and counts on
	@hack/demo.sh bin/rethaw

test: deps-test vet race fuzz-short e2e ## everything: vet, formatting, unit tests with the race detector, real containers

vet: deps-go ## go vet for amd64 and arm64, gofmt
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo 'gofmt: run gofmt -w on the files above' >&2; exit 1; }
	@go vet ./...
	@GOARCH=arm64 go vet ./...

# The race detector is the only thing here that wants cgo.
race: deps-test ## unit tests with the race detector
	@CGO_ENABLED=1 go test -race -timeout $(TIMEOUT) $$(go list ./... | grep -v '/e2e$$')

unit: deps-go ## unit tests alone, quickly
	@go test $$(go list ./... | grep -v '/e2e$$')

# -count=1: the program that is tested is built by the tests, which the cache does not see.
e2e: deps-test ## real programs in real containers
	@go test -count=1 -timeout $(TIMEOUT) -parallel 2 ./e2e

bench: deps-test build ## the figures, medians of RUNS, beside plain runc
	@go run ./e2e/bench -rethaw bin/rethaw -runs $(RUNS)

lint: vet ## vet, and what is installed of staticcheck and shellcheck
	@if command -v staticcheck >/dev/null; then staticcheck ./...; fi
	@if command -v shellcheck >/dev/null; then shellcheck hack/*.sh .ci/run; fi

fuzz: deps-go ## every fuzz target for FUZZTIME
	@hack/fuzz.sh $(FUZZTIME)

# What reads whole images is fuzzed in every test; the seeds of all others run with the
# unit tests.
fuzz-short: deps-go ## the decoders of images for some seconds
	@mkdir -p bin; hack/fuzz.sh 3s ./image >bin/fuzz.log 2>&1 || { cat bin/fuzz.log >&2; exit 1; }

faults: deps-test ## rethaw killed, and failing, at FAULTS system calls of a kind (or all), KILLS random deaths; a table
	@RETHAW_E2E_KILLS=$(KILLS) RETHAW_E2E_FAULTS=$(FAULTS) go test -count=1 -timeout 8h -parallel 2 -run 'TestCrash|TestFaults' -v ./e2e

load: deps-test ## large containers, many at a time, forkers, 500 rounds on one
	@RETHAW_E2E_LOAD=full go test -count=1 -timeout 60m -run 'TestLoad' -v ./e2e

# The machine is emulated, ten times slower than this one.
guest: deps-guest build ## the TESTS of e2e (a regular expression, or demo) under Debian's kernel, with cgroups of version 2 alone
	@hack/guest.sh bin/rethaw '$(TESTS)'

clean: ## what was built
	@rm -rf bin

.PHONY: deps-go deps-demo deps-test deps-guest
deps-go:
	@hack/deps.sh go
deps-demo:
	@hack/deps.sh go demo
deps-test:
	@hack/deps.sh go demo test
deps-guest:
	@hack/deps.sh go demo test guest
