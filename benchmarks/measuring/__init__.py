"""What the programs of this folder share: cases, candidates in worker processes, their rotation, and statistics."""
