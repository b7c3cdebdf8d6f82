"""Objects that commands print: the terminal shows them to people, and ``--json`` writes them for programs."""
