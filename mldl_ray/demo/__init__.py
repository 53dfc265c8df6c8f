"""The demo: one story through the whole lifecycle, on real data, over the same HTTP that users have."""

from mldl_ray.demo.story import run

__all__ = ["run"]
