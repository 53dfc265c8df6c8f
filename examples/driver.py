"""The lifecycle from a Python driver script, run beside a cluster or with ``ray job submit -- python driver.py``."""

import asyncio

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from mldl_ray import LogisticRegressionAdapter, MLDLService, TrainingJobRunner

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)


async def main() -> None:
    """Train one model by hand, one by a job, then start the service."""
    # 1. Create and train a model
    adapter = LogisticRegressionAdapter(model_key="demo_lr")
    adapter.fit(X_train, y_train)
    predictions = adapter.predict(X_test)
    print(f"by hand: {(predictions == y_test).mean():.3f} of {len(y_test)} held-out rows right")

    # 2. Run training job with HPO
    runner = TrainingJobRunner()
    job_spec = {
        "spec": {"model_key": "lr_model", "family": "lr", "task": "classification"},
        "hpo": {"strategy": "bayes", "max_trials": 50},
    }
    trained_bundle = await runner.run(job_spec)
    print(f"by search: {trained_bundle.metrics} with {trained_bundle.hyperparams}")

    # 3. Start MLDL service
    service = MLDLService()
    await service.start()
    print(f"service: {service.url} health: {service.client().health()['status']}")


if __name__ == "__main__":
    asyncio.run(main())
