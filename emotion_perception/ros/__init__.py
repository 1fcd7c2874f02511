"""What the nodes share: life cycle, parameters, quality of service, diagnostics, messages to values."""
