"""Images, videos, sound files, recordings and live devices as one kind of source."""
