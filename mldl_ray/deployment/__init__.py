"""Rules of a rollout: the steps it takes, the evidence, and the judge. Pure; the actor that acts is in ``actors``."""

from mldl_ray.deployment.decide import decide

__all__ = ["decide"]
