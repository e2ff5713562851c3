# Every target is a few lines; `make help` lists them.

LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
TESTSUM := gotest.tools/gotestsum@v1.13.0

.PHONY: help build up test race fuzz lint lint-tool fmt bench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/sluice
	go build -o bin/sluice .

up: ## run everything in one process, with a page on http://127.0.0.1:8080
	go run . up

test: ## vet and test everything; says what it ran on and what was skipped
	@echo "Kafka: the embedded broker, in this machine's own process (no real one is needed yet)"
	@echo "browser: $$(command -v chromium chromium-browser google-chrome 2>/dev/null | head -n 1 | grep . || echo 'none found: the browser tests are skipped; install chromium to run them')"
	go vet ./...
	go run $(TESTSUM) --format pkgname -- -timeout 14m -count=1 ./...

race: ## test what has goroutines under the race detector
	go test -race -timeout 14m -count=1 $$(go list ./... | grep -v /test/)

fuzz: ## fuzz every decoder of outside bytes, FUZZTIME each (default 20s)
	.ci/fuzz $(or $(FUZZTIME),20s)

lint: ## golangci-lint with the import rule, as .golangci.yml says
	go run $(LINT) run ./...

lint-tool:
	@echo $(LINT)

fmt: ## format
	gofmt -s -w $$(git ls-files '*.go')

bench: ## frames a second and CPU of gateway and normalizer, beside bare limits
	go run ./test/bench all
