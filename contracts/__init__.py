"""Words: frozen data and promises that every storey shares. Standard library and pydantic only."""
