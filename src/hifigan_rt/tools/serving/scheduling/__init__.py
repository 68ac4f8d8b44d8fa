"""The server's one way to the engine: admission, the order of blocks, and the thread that computes them."""
