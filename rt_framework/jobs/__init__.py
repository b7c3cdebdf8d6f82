"""The jobs that the commands do, as plain functions: run, score, select, quote, pilot, merge, salvage, check."""
