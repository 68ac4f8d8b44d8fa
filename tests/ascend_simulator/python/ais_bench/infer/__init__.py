"""The parts of the tool, under the names that scripts import."""
