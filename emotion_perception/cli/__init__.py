"""Command-line tools. Each checks its arguments before it imports the libraries that it computes with."""
