"""An imitation of the vendor's benchmark tool `ais_bench`. Simulated on CPU; not Ascend performance."""
