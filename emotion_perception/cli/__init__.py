"""Command-line tools. Each imports what it computes with only once its arguments are known to be right."""
