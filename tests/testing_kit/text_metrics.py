"""A good metric of texts alone, and broken ones."""

from __future__ import annotations

import random

from rt_framework import Range, Unscorable
from rt_framework.testing.contracts import TextMetricContract
from tests.testing_kit.making import good, mutant


@good(TextMetricContract)
class Words:
    direction = "none"
    valid = Range()

    def value(self, pair):
        if not pair.response.split():
            raise Unscorable("empty", "the response has no words")
        return len(pair.response.split())


@mutant(TextMetricContract, "test_it_says_how_to_read_it")
class Up(Words):
    direction = "up"


@mutant(TextMetricContract, "test_every_pair_has_a_value_or_a_reason")
class Dividing(Words):
    def value(self, pair):
        return len(pair.response) / len(pair.response.split())


@mutant(TextMetricContract, "test_values_are_pure")
class Lucky(Words):
    def value(self, pair):
        return super().value(pair) + random.random()


@mutant(TextMetricContract, "test_values_are_pure")
class Hashed(Words):
    def value(self, pair):
        return super().value(pair) + hash(pair.response) % 100
