"""What ``bench.drift`` is made of: streams with planted shifts, rivals' rules, and what is measured on them."""
