"""The simulated deployments of ``bench.rollout``: what happens, and who judges it."""
