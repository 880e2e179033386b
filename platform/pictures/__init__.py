"""Pictures of sweeps and trials; the only room that imports plotly."""
