# The targets of Hostler. `make run` and `make test` check what they need first.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X hostler.dev/hostler/internal/cli.version=$(VERSION)
LISTEN  ?= 127.0.0.1:9000
DATA    ?= ./data

.PHONY: build run test check vuln fmt bench clean

build: ## build bin/hostler
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/hostler ./cmd/hostler

run: ## check the set-up, build, and serve a sample project on embedded SQLite
	@scripts/setup.sh run
	@$(MAKE) --no-print-directory build
	bin/hostler serve --listen $(LISTEN) --data $(DATA) --seed-sample

test: ## check the set-up, then run all tests on both stores; see scripts/test.sh
	@scripts/setup.sh test
	@scripts/test.sh

check: ## check formatting and lint
	@scripts/check.sh

vuln: ## look for known vulnerabilities in the libraries; needs https://vuln.go.dev or VULNDB
	@scripts/vuln.sh

fmt: ## format the code
	@scripts/check.sh fmt

bench: build ## measure durable jobs per second on this machine, and compare with other queues
	@scripts/setup.sh test
	bin/hostler bench
	cd bench && go run .

clean: ## remove bin; the data folder stays
	rm -rf bin
