"""Does a point restore? Verdicts are values; whoever runs the checks decides what they mean."""
