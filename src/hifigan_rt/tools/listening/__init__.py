"""Blind listening tests: MOS, MUSHRA and ABX; the page, the answers, and what they tell."""
