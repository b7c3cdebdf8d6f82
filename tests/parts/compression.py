"""A metric of texts alone: bytes of the packed response for each byte of it."""

import zlib

from rt_framework import Range


class Compression:
    name, direction, valid = "compression", "higher", Range(above=0)

    def value(self, pair):
        text = pair.response.encode("utf-8", "replace")
        return len(zlib.compress(text)) / len(text)
