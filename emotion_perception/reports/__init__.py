"""Conversations and days as documents: HTML, PDF, CSV and JSON."""
