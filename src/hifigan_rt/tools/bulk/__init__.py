"""Many files through one model: reading ahead of the engine, writing behind it, a manifest, and resuming."""
