# Every target is a few lines; `make help` lists them.

LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
TESTSUM := gotest.tools/gotestsum@v1.13.0

.PHONY: help build image up test chaos containers race fuzz lint lint-tool fmt bench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/sluice
	go build -o bin/sluice .

image: ## build the container image sluice, which docker compose up --no-build runs
	docker build --network host -t sluice .

up: ## run everything in one process, with a page on http://127.0.0.1:8080
	go run . up

test: ## vet and test everything on a real Kafka, DynamoDB and registry where they can be had; says what it ran on and what was skipped
	@echo "browser: $$(command -v chromium chromium-browser google-chrome 2>/dev/null | head -n 1 | grep . || echo 'none found: the browser tests are skipped; install chromium to run them')"
	@echo "left out: whole processes killed, paused and multiplied on a real Kafka and DynamoDB, which make chaos runs; docker compose, which make containers runs"
	go vet ./...
	go run ./test/services/run -- go run $(TESTSUM) --format pkgname -- -timeout 14m -count=1 ./...

chaos: ## kill, restart, rebalance and replay whole processes on a real Kafka and DynamoDB (about 10 minutes)
	SLUICE_TEST_LONG=1 go test -timeout 30m -count=1 -v ./test/chaos

containers: ## the same services as containers, the image, and docker compose up (needs a Docker engine)
	SLUICE_TEST_SERVICES=containers go test -timeout 10m -count=1 ./test/services/... ./test/kafka
	SLUICE_TEST_DOCKER=1 go test -timeout 20m -count=1 -v ./test/compose

race: ## test what has goroutines under the race detector
	go run ./test/services/run --only dynamodb -- go test -race -timeout 14m -count=1 $$(go list ./... | grep -v /test/)

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
