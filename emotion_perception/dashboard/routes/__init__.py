"""The web server's routes, one file per subject."""
