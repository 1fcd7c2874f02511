"""Corrections that people make, and what they are made about. Shared by the page, the nodes and learning."""
