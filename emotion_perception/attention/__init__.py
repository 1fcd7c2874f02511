"""Attention and engagement of each person in view, from head pose, gaze, distance and speech."""
