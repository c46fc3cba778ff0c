"""What is noted of requests."""
