"""What the operating system gives: files written whole or not at all, processors, processes."""
