"""Where the robot may be used, what people are told about it, and what is recorded about its use."""
