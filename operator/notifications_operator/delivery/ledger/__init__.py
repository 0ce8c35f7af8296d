"""What is known of the deliveries of one Notification, and the pure rules of how it changes."""
