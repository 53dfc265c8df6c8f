"""What stands beside ours in ``bench.serving``: the same pipelines behind other servers, and the load on all of them.

``pipelines``, ``mlflow_model``, ``fastapi_app`` and ``ray_serve_app`` know nothing of this project, so that a peer's
process holds what its user's process would hold, and no more.
"""
