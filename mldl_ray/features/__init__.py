"""Feature views at work: one function from what callers send to what a model learns from, wherever it is."""
