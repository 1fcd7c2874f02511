"""What becomes of states over time: arcs, conversations, satisfaction, groups. No ROS."""
