"""Results as images, markers and a window."""
