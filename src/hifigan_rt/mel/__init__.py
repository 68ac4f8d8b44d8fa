"""Log-mels: computed from recordings, checked, read from files."""
