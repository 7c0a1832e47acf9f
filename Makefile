# Every target creates what it needs in .venv; PYTHON names another interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMPILED := setup.py pyproject.toml \
    $(shell find src -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -path '*/simd/*.c')
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-fast test-slow examples lint asan bench bench-peers kernels profile dist clean

demo: $(VENV)/.plot
	@echo 'Every strategy on a real photograph; about a minute.'
	$(BIN)/fastconv compare
	@echo
	@echo 'Next, try one of these:'
	@echo '  $(BIN)/fastconv                                         what else it can do'
	@echo '  $(BIN)/fastconv compare --image YOURS.png --plot out.png'
	@echo '  $(BIN)/fastconv compare --layer "ic64 oc64 i56 k3 p1"   Winograd at its best'

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto

# For while you work: the rules of the code, shape arithmetic, and every strategy on a few layers, in under a minute.
test-fast: $(VENV)/.test
	$(BIN)/python -m pytest -n auto -q \
	    $(patsubst %,tests/test_%.py,architecture geometry conv cook_toom direct fft gemm implicit lowering separable)

# What `make test` leaves out because it takes long: kernels of the other instruction sets, all cases of ONNX ...
test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -n auto -m slow

# With what the examples read: weights that come with a wheel, whose dependencies they do without, and a photograph.
examples: $(VENV)/.test
	$(INSTALL) --no-deps rapidocr-onnxruntime==1.4.4
	$(INSTALL) scikit-image
	$(BIN)/python -m pytest tests/test_examples.py

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(BIN):$$PATH" $(BIN)/cython-lint --max-line-length 120 src
	$(BIN)/mypy

# Tests of what is compiled, under AddressSanitizer and UBSan: of the kernels of ISA, and of all extensions.
ISA ?= avx2
asan: $(VENV)/.test $(VENV)/.build
	FASTCONV_SANITIZE=$(ISA) $(BIN)/python setup.py --quiet build --build-base build/asan-$(ISA) \
	    --build-lib build/asan-$(ISA)/lib
	PYTHONPATH=$(CURDIR)/build/asan-$(ISA)/lib FASTCONV_ISA=$(ISA) ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	    LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	    $(BIN)/python -m pytest -n auto --timeout 1200 -m "not faults and not slow" \
	    $(patsubst %,tests/test_%.py,guards gemm implicit strategies pooling signal ndimage grad nn)

bench: $(VENV)/.bench
	$(BIN)/python -m pytest benchmarks --benchmark-only

bench-peers: $(VENV)/.engines
	$(BIN)/python -m benchmarks.side_by_side
	$(BIN)/python -m benchmarks.census --sample 28 --gflop 2

# Each compiled kernel as a share of the core's peak; ONLY=REGEX selects some.
kernels: $(VENV)/.bench
	$(BIN)/python -m benchmarks.kernels --only "$(ONLY)"

# Where the time of one layer goes: make profile LAYER="ic64 oc64 i56 k3 p1" STRATEGY=winograd4
LAYER ?= ic64 oc64 i56 k3 p1
STRATEGY ?= auto
profile: $(VENV)/.bench
	$(BIN)/python -m benchmarks.profiling "$(LAYER)" --strategy $(STRATEGY)

# The sdist, and the wheel that is built from it and from nothing else.
dist: $(VENV)/.dist
	rm -rf dist
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) build dist src/*.egg-info
	find src -name '*.so' -delete
	find src \( -name '*.c' -not -path '*/simd/*' \) -delete

$(BIN)/python:
	@echo 'Creating $(VENV), where everything is installed; "make clean" removes it.'
	$(PYTHON) -m venv $(VENV)

# Linters read sources: nothing is built for them, and mypy reads NumPy's types. The versions are those of
# .pre-commit-config.yaml and pyproject.toml.
$(VENV)/.lint: Makefile | $(BIN)/python
	$(INSTALL) ruff==0.17.6 cython-lint==0.22.1 mypy==2.4.1 numpy
	touch $@

# What a build needs, where it is not pip that builds.
$(VENV)/.build: | $(BIN)/python
	$(INSTALL) setuptools Cython numpy
	touch $@

$(VENV)/.dist: | $(BIN)/python
	$(INSTALL) build
	touch $@

# The versions of which the README's figures are, without their dependencies (requests, telemetry ...), which no
# convolution needs.
$(VENV)/.engines: $(VENV)/.peers
	$(INSTALL) --no-deps ncnn==1.0.20261020 MNN==3.6.1 openvino==2026.4.1 ai-edge-litert==2.3.0
	touch $@

# An editable install with one of the extras; built again when a compiled source changes. pip shows nothing of a build
# that succeeds, so setup.py reports its progress to the terminal itself.
$(VENV)/.%: $(COMPILED) | $(BIN)/python
	@echo 'Installing fastconv[$*] into $(VENV): downloading, then compiling for a few minutes.'
	FASTCONV_PROGRESS=/proc/$$$$/fd/2 $(INSTALL) --editable '.[$*]'
	touch $@
