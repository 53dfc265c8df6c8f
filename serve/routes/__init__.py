"""The control plane's HTTP surface, one file per noun."""
