"""Pictures, films, sound files, recordings and live devices as one kind of stream."""
