"""Execution of a trial: worker, ranks, node agents, registry, failures."""
