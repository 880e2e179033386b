"""Where a trial's files lie: checkpoints, stages, the mirror of a bucket, the node's cache."""
