"""The environment: options -> task -> Gymnasium's `reset` and `step`, for one prompt or many."""
