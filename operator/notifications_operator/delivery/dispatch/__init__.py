"""NotificationProcessors at work: which send, how fast, and whose turn it is."""
