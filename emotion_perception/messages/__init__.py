"""Message fields to values, for rclpy messages and recorded ones alike. Imports no rclpy."""
