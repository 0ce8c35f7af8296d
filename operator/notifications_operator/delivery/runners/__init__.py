"""One Notification at work: claims, sends, records."""
