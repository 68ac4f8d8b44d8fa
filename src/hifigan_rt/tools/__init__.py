"""Tools around the vocoder; the core imports none of them."""
