# make run    the environment, the trained generators, the first champions, and a challenger trained here
# make serve  the champions over HTTP, http://127.0.0.1:8000
# make test   the environment and every test
# make help   the rest

SHELL := /bin/bash
PYTHON ?= python3.11
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
# Stages and tests are hundreds of processes, which import the same modules.
unexport PYTHONDONTWRITEBYTECODE
ENV := .venv/.made
# MLflow's server on PostgreSQL and S3, DVC on S3, and an S3 store.
BACKENDS := .venv-backends
# Files of tests at a time, each on one thread: what a file sets up for all of its tests is set up once.
JOBS ?= $(shell nproc)
AT_ONCE := --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: run serve test faults test-integration quick-test env lint format types audit release layers pulled ui bench pictures docs help

run: env
	@[ ! -d .git ] || git rev-parse --git-dir >/dev/null
	dvc pull
	# The generators that were pulled come first, so that the challenger, trained next, has a champion to beat.
	rockbank register
	@rockbank promote shale --first
	@rockbank promote channels --first
	dvc repro
	@rockbank models --next

serve: env
	rockbank serve

test: env
	@echo "every test, as many files at a time as there are cores: some 18 minutes on two, a line for each 72 tests; make quick-test leaves out those of over 5 s"
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 pytest $(AT_ONCE)

# Those of the table of faults.
faults: env
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 pytest $(AT_ONCE) $(shell grep -oE 'tests/[^`]+::test_\w+' docs/reliability.md)

test-integration: env $(BACKENDS)/.made $(BACKENDS)/.perf_analyzer
	ROCKBANK_BACKENDS=$(CURDIR)/$(BACKENDS)/bin/python ROCKBANK_PERF_ANALYZER=$(CURDIR)/$(BACKENDS)/triton/bin/perf_analyzer \
		OMP_NUM_THREADS=1 pytest tests/integration

# On top of the pinned environment, of which it takes everything else.
$(BACKENDS)/.made: deploy/backends.txt $(ENV)
	@.venv/bin/python -m venv --without-pip $(BACKENDS)
	@.venv/bin/pip --python $(BACKENDS)/bin/python install --quiet --disable-pip-version-check --no-deps -r deploy/backends.txt
	@.venv/bin/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" \
		> $$($(BACKENDS)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/pinned.pth
	@touch $@

# Beside the environment: its tritonclient is an older one.
$(BACKENDS)/.perf_analyzer: deploy/perf_analyzer.txt $(BACKENDS)/.made
	@rm -rf $(BACKENDS)/triton
	@.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --target $(BACKENDS)/triton -r deploy/perf_analyzer.txt
	@touch $@

quick-test: env
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 pytest $(AT_ONCE) -m "not slow"

env: $(ENV)

$(ENV): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON): not found; install Python 3.11, or name 3.12 or 3.13: make PYTHON=python3.12" >&2; exit 1; }
	@[ -x .venv/bin/pip ] || $(PYTHON) -m venv .venv || { rm -rf .venv; echo "no virtual environment could be made; on Debian and Ubuntu: apt install python3.11-venv" >&2; exit 1; }
	@echo "installing the pinned environment (about 7 GB; a few minutes)"
	@.venv/bin/pip install --progress-bar on --quiet --disable-pip-version-check -e '.[scans,pipeline,client,serve,grpc,otel,ray,slurm,docs,dev]' -c constraints.txt
	@touch $@

format: env
	ruff format .
	ruff check --fix .

lint: env
	ruff format --check .
	ruff check .

types: env
	mypy

audit: env
	bandit --quiet --recursive --configfile pyproject.toml src serving pipelines
	python .ci/audit

# What is given away: the wheel, what it was tested with, and the SHA-256 of both.
release: env
	@rm -rf dist
	.venv/bin/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o dist/rockbank.cdx.json .venv/bin/python
	cd dist && sha256sum *.whl *.cdx.json | tee SHA256SUMS

layers: env
	lint-imports

pulled: env
	dvc pull
	dvc repro prepare channels
	python .ci/status

ui: env
	@echo "http://localhost:5000; at a first visit press 'Model training', then open an experiment"
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow server --backend-store-uri sqlite:///mlflow.db --port 5000

bench: env
	@.venv/bin/pip install --quiet --disable-pip-version-check -e '.[bench]' -c constraints.txt
	python -m benchmarks.s2
	python -m benchmarks.train
	python -m benchmarks.score
	python -m benchmarks.flow
	python -m benchmarks.matching.calibration
	python -m benchmarks.matching.match matches/published-gauss-newton
	python -m benchmarks.matching.valley matches/published-gauss-newton
	python -m benchmarks.serving
	python -m benchmarks.soak

docs: env
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict
	@echo "file://$(CURDIR)/build/site/index.html"

pictures: env
	python -m tools.pictures
	python -m tools.serving_page
	python -m tools.house

help:
	@sed -n 's/^# //p' $(firstword $(MAKEFILE_LIST)) | head -4
	@echo "make release                           a wheel with its SBOM and SHA-256, in dist/"
	@echo "make lint | types | layers | audit | pulled | format    what .ci/run checks"
	@echo "make ui                                the MLflow UI on http://localhost:5000"
	@echo "make test-integration                  the main job on PostgreSQL, S3 and a tracking server, started and stopped here; perf_analyzer"
	@echo "make bench                             speed, as ratios"
	@echo "make docs                              the site, in build/site"
	@echo "make pictures                          the pictures of the docs, from the last run"
