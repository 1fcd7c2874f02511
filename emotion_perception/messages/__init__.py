"""Messages to values by their fields; works on rclpy messages and on recorded ones alike. Imports no rclpy."""
