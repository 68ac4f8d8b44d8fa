# Two commands do all the set-up: `make demo` runs the main job on real weights, `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv
NATIVE := pyproject.toml CMakeLists.txt $(shell find native -type f)

.PHONY: demo test test-long check soak ray-kill golden fuzz hostile hostile-load gpu-test gpu-wheels gpu-bench gpu-torch \
  try-oldest try-torch try-debian wheels try-wheels try-wheels-arm64 docs bench clean help own-environment
.NOTPARALLEL:

help:
	@grep -E '^# `|^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /: /'

own-environment:
	@scripts/check-environment $(VENV) $(if $(filter file,$(origin PYTHON)),,$(PYTHON))

$(VENV)/installed: $(NATIVE) | own-environment
	@scripts/setup $(VENV) $(PYTHON) all

$(VENV)/installed-demo: $(NATIVE) | own-environment
	@scripts/setup $(VENV) $(PYTHON) demo

demo: $(VENV)/installed-demo ## synthesise samples/ with the real LJSpeech V1 weights
	scripts/demo $(VENV)

test: $(VENV)/installed ## the tests of what matters, in minutes
	scripts/test $(VENV)

test-long: $(VENV)/installed ## all tests, with many more generated inputs
	HIFIGAN_RT_TEST_LONG=1 scripts/test $(VENV)

check: $(VENV)/installed ## linters, types and the import contract
	scripts/check $(VENV)

soak: $(VENV)/installed ## half an hour of mixed load on the server; SOAK_MINUTES=2 for less
	$(VENV)/bin/python benchmarks/soak.py --minutes $(or $(SOAK_MINUTES),30) $(if $(SOAK_OUTPUT),-o $(SOAK_OUTPUT))

hostile: $(VENV)/installed ## bodies that are meant to hurt: for how long is nobody answered, what memory do they take?
	$(VENV)/bin/python benchmarks/hostile_bodies.py $(if $(HOSTILE_OUTPUT),-o $(HOSTILE_OUTPUT))

hostile-load: $(VENV)/installed ## an honest client beside 16 hostile connections, 5 minutes from one address and 5 from 16
	$(VENV)/bin/python benchmarks/hostile_load.py --minutes $(or $(HOSTILE_MINUTES),5) $(if $(HOSTILE_LOAD_OUTPUT),-o $(HOSTILE_LOAD_OUTPUT))

ray-kill: $(VENV)/installed ## nodes of a Ray cluster are killed 20 times in mid-run; needs the extra ray in VENV; RAY_KILLS=2 for less
	$(VENV)/bin/python benchmarks/ray_kill.py --kills $(or $(RAY_KILLS),20) $(if $(RAY_OUTPUT),-o $(RAY_OUTPUT))

golden: $(VENV)/installed ## what the true frameworks compute, made anew and compared; needs PyTorch in VENV; NAMES="nemo coqui" for some
	scripts/golden $(VENV) $(NAMES)

fuzz: $(VENV)/installed ## ten minutes of hostile checkpoints, ten of hostile requests; FUZZ_SECONDS=60 for less
	$(VENV)/bin/python tests/hostile/fuzz_checkpoint.py --seconds $(or $(FUZZ_SECONDS),600)
	$(VENV)/bin/python tests/hostile/fuzz_server.py --seconds $(or $(FUZZ_SECONDS),600)

gpu-test: ## the tests that need an NVIDIA card, in out/gpu-venv; PYTHON has PyTorch for it, WHEELS=FOLDER of gpu-wheels for a machine without network, PARTS="cuda,torch" for some
	scripts/gpu-test $(PYTHON) "$(WHEELS)" "$(PARTS)"

gpu-wheels: ## what gpu-test, gpu-bench and gpu-torch need on a machine without network, in WHEELS; PYTHON of the version that it has
	HIFIGAN_RT_CUDA=1 $(PYTHON) -m pip wheel -q -w $(or $(WHEELS),out/gpu-wheels) '.[pretrained,serve]' pytest hypothesis

gpu-bench: ## what engine cuda does on a card, beside PyTorch at its best; PYTHON=out/gpu-venv/bin/python has both, PARTS="whole,streams" for some
	$(PYTHON) benchmarks/run_cuda.py -o "$(or $(GPU_OUTPUT),out/cuda$(if $(PARTS),-$(PARTS)).json)" $(if $(PARTS),--parts "$(PARTS)") $(if $(MODEL),--model $(MODEL))

gpu-torch: ## what the PyTorch engine does on that card, with the same PYTHON
	$(PYTHON) benchmarks/run_torch_gpu.py -o $(or $(GPU_OUTPUT),out/torch-gpu.json) $(if $(MODEL),--model $(MODEL))

try-oldest: $(VENV)/installed ## all tests, with the oldest release of every package that hifigan-rt says it runs with
	scripts/try-releases $(VENV) "$$($(VENV)/bin/python scripts/oldest_releases.py --without ray)" --ignore=tests/cluster
	scripts/try-releases $(VENV) "$$($(VENV)/bin/python scripts/oldest_releases.py)" tests/cluster

try-torch: $(VENV)/installed ## the tests that need PyTorch, with the releases in TORCH="2.6.0 2.9.1"; each takes some GB in build/
	set -e; for release in $(or $(TORCH),2.6.0); do scripts/try-releases $(VENV) torch==$$release -m torch; done

try-debian: ## the tests on a source build with Debian testing's Python and compiler; as root, ten minutes, needs debootstrap
	scripts/check-debian

wheels: ## sdist and wheels for Linux on x86-64 and arm64, in dist/; as root, needs debootstrap, Pythons 3.11 and 3.12 or newer
	scripts/wheels

try-wheels: $(VENV)/installed ## these in clean Debian systems without a compiler, against the source build; as root
	$(VENV)/bin/python benchmarks/try_wheels.py --systems bookworm,bookworm-3.12,trixie,forky $(if $(WHEELS_OUTPUT),-o $(WHEELS_OUTPUT))

try-wheels-arm64: $(VENV)/installed ## and in emulated arm64 ones, with small networks; as root, takes minutes
	$(VENV)/bin/python benchmarks/try_wheels.py --systems bookworm-arm64,trixie-arm64 $(if $(WHEELS_OUTPUT),-o $(WHEELS_OUTPUT))

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist out .pytest_cache .mypy_cache .ruff_cache
