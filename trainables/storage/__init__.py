"""A trial's files: checkpoints, stages, the mirror of a bucket, the node's cache."""
