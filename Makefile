# Every target works on a fresh machine that has make and python3 (3.10 to 3.13): each makes .venv first.
PYTHON ?= python3
OUT ?= runs/bench
BIN := .venv/bin
INSTALLED := .venv/.installed
CLIENTS := .venv-clients

.PHONY: install bench standings test test-slow test-ray test-clients check docs page

install: $(INSTALLED)

# An existing .venv is brought up to date in place, never removed. Always through the constraints: a request
# for any other torch can bring gigabytes of CUDA packages to a machine without a GPU.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $@

# Prints the leaderboard. Resumable: what is finished in $(OUT) is kept.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks run --suite micro --quick \
		--agents random keep_all truncation stopwords self_information:model=micro-prompts ppo scst --seeds 2 --out $(OUT)

# Writes benchmarks/leaderboard, within an hour on two cores. Resumable.
standings: $(INSTALLED)
	benchmarks/standings.sh

test: $(INSTALLED)
	$(BIN)/python -m pytest

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

# On a local Ray cluster; Ray, 250 MB, is installed here alone.
test-ray: $(INSTALLED)
	$(BIN)/python -m pip install -c constraints.txt -e '.[ray]'
	$(BIN)/python -m pytest -m 'slow or not slow' tests/generators/ray/test_generator.py tests/benchmarks/cluster/test_ray.py

# The examples of other libraries, in a .venv of their own: RLlib holds Gymnasium back, MoviePy holds Pillow
# back. So this also tests the environment with an older Gymnasium.
test-clients: $(CLIENTS)/.installed
	$(CLIENTS)/bin/python -m pytest tests/test_examples_clients.py tests/envs/test_wrappers.py tests/envs/test_env.py \
		tests/envs/test_vector_env.py tests/rendering/test_rendering.py

$(CLIENTS)/.installed: pyproject.toml constraints.txt
	test -x $(CLIENTS)/bin/pip || $(PYTHON) -m venv $(CLIENTS)
	grep -vE '^(gymnasium|pillow)==' constraints.txt > $(CLIENTS)/constraints.txt
	$(CLIENTS)/bin/python -m pip install -c $(CLIENTS)/constraints.txt -e '.[dev,rllib,torchrl,video]'
	touch $@

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Writes the manual to site/; any warning, such as a link to nowhere, is an error.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Writes the page of the standings to site/leaderboard/index.html. After `make docs`, which empties site/.
page: $(INSTALLED)
	$(BIN)/python -m benchmarks report benchmarks/leaderboard/micro benchmarks/leaderboard/micro-seq2seq \
		--out site/leaderboard
