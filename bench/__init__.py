"""Side by side with peers, in one run: each module prints one JSON line. ``python -m bench.<name>``."""
