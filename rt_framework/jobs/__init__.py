"""What people do with the framework, as plain functions: run, score, select, quote, pilot, merge, salvage, check."""
