"""A selector over the data set."""

from rt_framework import Verdict


class Middle:
    """Keeps the samples in the middle of a ranking."""

    def __init__(self, settings):
        self.needs = (settings.metric,)
        self._settings = settings

    def select(self, rows):
        """Keep the share asked for; a sample without a score is never kept."""
        metric = self._settings.metric
        ranked = sorted((row for row in rows if row.scores[metric].eligible), key=lambda row: row.scores[metric].value)
        count = round(len(rows) * self._settings.fraction)
        start = max(0, (len(ranked) - count) // 2)
        kept = {row.sample_id for row in ranked[start : start + count]}
        return [Verdict(row.sample_id in kept, f"{metric} in the middle {count}") for row in rows]
