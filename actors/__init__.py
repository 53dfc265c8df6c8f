"""Motion: the long-lived parts, as plain classes that ``mldl_ray.compose`` wraps as detached, named Ray actors."""
