"""The server's one way to the engine: who is let in, whose block is next, and the thread that computes it."""
