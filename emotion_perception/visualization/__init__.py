"""What was recognised, drawn: overlays, markers, a window."""
