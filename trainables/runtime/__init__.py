"""How a trial runs: worker, ranks, node agents, registry, failures."""
