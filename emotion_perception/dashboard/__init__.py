"""The web page: live view and stored conversations. Independent of ROS; ``nodes/dashboard_node.py`` feeds it."""
