"""Late fusion of faces, voices and text into one emotion state per person. No ROS, no torch."""
