"""Bring-up: the table of nodes, process supervision, a container process, the demo."""
