"""Models: finds what a user names."""
