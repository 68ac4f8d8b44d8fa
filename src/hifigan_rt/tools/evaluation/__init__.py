"""How does it sound? Metrics and the statistics that compare systems."""
