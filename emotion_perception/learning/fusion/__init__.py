"""What fusion learns from validation data."""
