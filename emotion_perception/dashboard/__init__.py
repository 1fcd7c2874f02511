"""The web page: what the robot sees and hears, live and afterwards. No ROS; ``nodes/dashboard_node.py`` feeds it."""
