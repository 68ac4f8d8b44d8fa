"""File formats of models, read and written; nothing in a file is executed."""
