"""A metric and a selector, in a package of their own."""
