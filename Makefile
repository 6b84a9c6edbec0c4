# Every command of this project. `make` alone lists them; each makes what it needs first: .venv, the C++ reader, the package.
# Needed beforehand: Python >= 3.10 with venv, a C++20 compiler, make. pip, cmake and ninja come into .venv.

PYTHON ?= python3
# Another index where pip may look for torch: one with the CPU build, where the default one has only CUDA.
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
PIP := $(RUN) -m pip --disable-pip-version-check install --quiet --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
CPP_SOURCES := $(shell find cpp -type f \( -name '*.cpp' -o -name '*.hpp' -o -name '*.h' -o -name 'CMakeLists.txt' -o -name '*.cmake' \))
FUZZ_SEEDS := $(wildcard cpp/fuzz/seeds/*/*)
CMAKE_ENV := PATH="$(CURDIR)/$(BIN):$$PATH"; export PATH;
# How long `make fuzz` searches, in all, and what: all targets, or those named, such as "cpp-header cpp-scan".
SECONDS ?= 600
TARGETS ?=
# Without those that ask what a worker has loaded, and those whose working directory goes away: there is counting in the way.
COVERED_TESTS := tests/formats tests/results tests/page/test_write_page.py tests/engine tests/cluster tests/sources tests/end_to_end tests/cpp tests/pairing tests/plan tests/python tests/reliability \
  --deselect tests/engine/test_local_pool.py::test_workers_use_one_thread_and_load_nothing_heavy \
  --deselect tests/end_to_end/test_compare.py::test_a_removed_working_directory_does_no_harm
NEED_CLANG := command -v clang++ >/dev/null || { echo "make: installing clang"; apt-get -qq update && apt-get -qq install -y clang >/dev/null; } \
  || { echo "make: this needs clang++"; exit 1; }
# A file stays in one process: its tests share dumps and compiled kernels.
IN_PARALLEL := -n auto --dist loadfile
CHECKED := fastcmp compat tests examples bench docs

# Another environment's settings must not leak into this one.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo browser test test-slow test-lowest test-cpp lint types format coverage fuzz bench bench-short bench-large bench-ab bench-ab-short dev clean ci

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed build/standin/.built ## dump two runs of a small Llama, compare them, find the planted defect (two minutes the first time)
	@$(RUN) examples/demo.py demo-output

browser: ## a Chromium for the tests of the HTML page, where none is installed (Debian, Ubuntu; without one those tests are skipped)
	@command -v chromium chromium-browser google-chrome >/dev/null \
	  || { echo "make: installing chromium"; apt-get -qq update && apt-get -qq install -y chromium >/dev/null 2>&1; } \
	  || { echo "make: no Chromium here; install one, or name it by FASTCMP_CHROMIUM"; exit 1; }

test: $(VENV)/.installed build/standin/.built test-cpp ## the quick tests (about twelve minutes on two cores)
	@$(RUN) -m pytest -q $(IN_PARALLEL)

test-slow: $(VENV)/.installed build/standin/.built test-cpp ## all tests, those of minutes too
	@$(RUN) -m pytest -q $(IN_PARALLEL) -m "slow or not slow"

test-lowest: $(VENV)/.installed ## the quick tests beside the oldest packages that pyproject.toml allows, in build/lowest
	@mkdir -p build
	@$(RUN) tests/lowest_versions.py >build/lowest.txt
	@PIP_CONSTRAINT="$(CURDIR)/build/lowest.txt" $(MAKE) --no-print-directory VENV=build/lowest test

test-cpp: build/cpp/.tested build/tsan/.tested ## the C++ tests: reader and preload library under sanitizers

lint: $(VENV)/.installed ## ruff: rules and format
	@$(RUN) -m ruff check --quiet $(CHECKED)
	@$(RUN) -m ruff format --quiet --check $(CHECKED)
	@echo "lint: clean"

types: $(VENV)/.installed ## mypy
	@$(RUN) -m mypy --no-error-summary
	@echo "types: clean"

format: $(VENV)/.installed ## rewrite the Python files as lint wants them
	@$(RUN) -m ruff check --quiet --fix $(CHECKED)
	@$(RUN) -m ruff format --quiet $(CHECKED)

coverage: $(VENV)/.installed build/standin/.built ## coverage of readers, report, supervision and the C++ reader, with floors for branches; installs clang
	@rm -rf build/coverage && mkdir -p build/coverage
	@$(RUN) -m coverage run -m pytest -q -p no:cacheprovider $(COVERED_TESTS)
	@$(RUN) -m coverage run -m pytest -q -p no:cacheprovider -m slow tests/cluster # real clusters
	@$(RUN) -m coverage combine -q 2>/dev/null || true # files of workers that were killed are torn
	@$(RUN) tests/check_coverage.py
	@$(NEED_CLANG)
	@$(CMAKE_ENV) cmake -S cpp -B build/llvm-coverage -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_COMPILER=clang++ -DFASTCMP_PYTHON=OFF \
	    -DFASTCMP_TESTS=ON -DCMAKE_CXX_FLAGS="-fprofile-instr-generate -fcoverage-mapping" >build/llvm-coverage.log 2>&1 \
	  && cmake --build build/llvm-coverage --target test_reader test_file >>build/llvm-coverage.log 2>&1 || { cat build/llvm-coverage.log; exit 1; }
	@cd build/llvm-coverage && LLVM_PROFILE_FILE=%p.profraw ./test_reader && LLVM_PROFILE_FILE=%p.profraw ./test_file \
	  && llvm-profdata merge -sparse ./*.profraw -o all.profdata && rm -f ./*.profraw \
	  && llvm-cov report test_reader -object test_file -instr-profile all.profdata -show-branch-summary ../../cpp/src 2>/dev/null \
	  && llvm-cov export test_reader -object test_file -instr-profile all.profdata -summary-only ../../cpp/src >summary.json 2>/dev/null
	@$(RUN) tests/check_coverage.py build/llvm-coverage/summary.json

fuzz: $(VENV)/.installed ## every fuzz target, or TARGETS, for its share of SECONDS (600); installs clang, and atheris where there is one for this Python
	@$(NEED_CLANG)
	@$(PIP) --only-binary atheris --group fuzz 2>/dev/null || echo "make: no atheris for $$($(RUN) --version) here"
	@mkdir -p build
	@$(CMAKE_ENV) cmake -S cpp -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=clang++ \
	    -DFASTCMP_PYTHON=OFF -DFASTCMP_FUZZ=ON -DFASTCMP_SANITIZE=address >build/fuzz.log 2>&1 \
	  && cmake --build build/fuzz >>build/fuzz.log 2>&1 || { cat build/fuzz.log; exit 1; }
	@$(RUN) tests/fuzz/fuzz_run.py $(SECONDS) $(TARGETS)

bench: $(VENV)/.installed build/standin/.built ## speed beside its yardstick, 3 minutes, 7 GB in bench/data
	@$(RUN) bench/run.py

bench-short: $(VENV)/.installed build/standin/.built ## the same in a minute with less data: checks the answers, gates nothing fine
	@$(RUN) bench/run.py --size short

bench-large: $(VENV)/.installed build/standin/.built ## the same at 8 GB and 100 000 pairs; 25 GB in bench/data
	@$(RUN) bench/run.py --size large

bench-ab: $(VENV)/.installed ## this tree beside BASE=<revision> (the previous commit), call by call: fails where it takes LIMIT (1.15) times as long
	@$(RUN) bench/ab.py $(if $(BASE),--base $(BASE)) $(if $(LIMIT),--limit $(LIMIT))

bench-ab-short: $(VENV)/.installed ## the same in a minute with fewer cases and a limit of 1.5; nothing to compare with is no failure
	@$(RUN) bench/ab.py --short --limit 1.5 $(if $(BASE),--base $(BASE))

dev: $(VENV)/.installed ## .venv with the package (editable), tests, lint and build tools
	@echo "ready: $(BIN)/fastcmp"

ci: ## what continuous integration runs
	@.ci/run

clean: ## remove everything that make made
	@rm -rf $(VENV) build demo-output bench/data bench/results .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Run again only when the C++ sources or the seeds of their fuzz targets have changed.
build/cpp/.tested: $(CPP_SOURCES) $(FUZZ_SEEDS) $(VENV)/.requirements
	@echo "make: C++ tests"
	@mkdir -p build
	@$(CMAKE_ENV) cmake -S cpp -B build/cpp -G Ninja -DCMAKE_BUILD_TYPE=Debug -DFASTCMP_PYTHON=OFF -DFASTCMP_TESTS=ON -DFASTCMP_SANITIZE=address >build/cpp.log 2>&1 \
	  && cmake --build build/cpp >>build/cpp.log 2>&1 && ctest --test-dir build/cpp --output-on-failure >>build/cpp.log 2>&1 \
	  || { cat build/cpp.log; exit 1; }
	@touch $@

# The threads of the preload library; the other sanitizers cannot run beside this one.
build/tsan/.tested: $(CPP_SOURCES) $(VENV)/.requirements
	@echo "make: C++ tests, threads"
	@mkdir -p build
	@$(CMAKE_ENV) cmake -S cpp -B build/tsan -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DFASTCMP_PYTHON=OFF -DFASTCMP_TESTS=ON -DFASTCMP_SANITIZE=thread >build/tsan.log 2>&1 \
	  && cmake --build build/tsan --target test_preload >>build/tsan.log 2>&1 && ctest --test-dir build/tsan -R preload --output-on-failure >>build/tsan.log 2>&1 \
	  || { cat build/tsan.log; exit 1; }
	@touch $@

# An acceleration library for machines that have none: what the preload library is tested with, and what the demo runs under.
build/standin/.built: $(CPP_SOURCES) $(VENV)/.requirements
	@echo "make: stand-in acceleration library"
	@mkdir -p build
	@$(CMAKE_ENV) cmake -S cpp -B build/standin -G Ninja -DCMAKE_BUILD_TYPE=Release -DFASTCMP_PYTHON=OFF -DFASTCMP_STANDIN=ON >build/standin.log 2>&1 \
	  && cmake --build build/standin >>build/standin.log 2>&1 || { cat build/standin.log; exit 1; }
	@touch $@

$(VENV)/.pip:
	@echo "make: $(VENV) from $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "make: Python >= 3.10 is needed: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV) || { echo "make: no venv module here; install it (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@$(PIP) --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.requirements: pyproject.toml $(VENV)/.pip
	@echo "make: requirements into $(VENV) (some minutes the first time: torch)"
	@$(PIP) --group build --group dev
	@touch $@

# Editable: an edited Python file needs no new installation, an edited C++ file does.
$(VENV)/.installed: $(CPP_SOURCES) $(VENV)/.requirements
	@echo "make: C++ reader and package into $(VENV)"
	@$(PIP) --no-build-isolation --editable .
	@touch $@
