.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

$(VENV)/.run: requirements.lock pyproject.toml
	@bash tests/tools/environment.sh "$(PYTHON)" $(VENV) run
$(VENV)/.dev: requirements.lock requirements-dev.lock pyproject.toml
	@bash tests/tools/environment.sh "$(PYTHON)" $(VENV) dev

demo: $(VENV)/.run ## The whole path on the embedded cluster (KEEP=1 leaves it running)
	@$(BIN)/grovekeeper demo $(if $(KEEP),--keep)
check: $(VENV)/.dev ## Lint, types, import contracts
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache
test: check ## Everything: unit, property, contract, end to end on both clusters
	@bash tests/tools/run.sh all
test-fast: $(VENV)/.dev ## Without the real control plane; under a minute
	@bash tests/tools/run.sh fast
generate: $(VENV)/.dev ## CRDs, the page of modules, the table of scenarios
	@$(BIN)/python -m grovekeeper.api.crds charts/grovekeeper/crds
	@$(BIN)/python -m tests.tools.modules && $(BIN)/python -m tests.tools.scenarios
bench: bench-webhook bench-admission bench-deploy bench-placement bench-update bench-scale ## All benchmarks
bench-webhook: $(VENV)/.dev ## Admission against a Go webhook, in one run
	@$(BIN)/python -m tests.bench.webhook
bench-admission: $(VENV)/.dev ## A burst of 1,000 pods, by the API server's own metrics
	@$(BIN)/python -m tests.bench.admission
bench-deploy: $(VENV)/.dev ## 1,000 pods on the real control plane against stock ReplicaSets
	@$(BIN)/python -m tests.bench.deploy
bench-placement: $(VENV)/.dev ## Placement quality and speed against CP-SAT and peers
	@$(BIN)/python -m tests.bench.placement
bench-update: $(VENV)/.dev ## Every gang of a full cluster updated while others wait, on the real control plane
	@$(BIN)/python -m tests.bench.update
bench-scale: $(VENV)/.dev ## 5,000 pods of mixed gangs on 1,000 nodes of the real control plane, before a referee
	@$(BIN)/python -m tests.bench.scale
wheel: $(VENV)/.dev ## Build the wheel
	@$(BIN)/uv build --wheel
.PHONY: help demo check test test-fast generate bench bench-webhook bench-admission bench-deploy bench-placement bench-update bench-scale wheel
