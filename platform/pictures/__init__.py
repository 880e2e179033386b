"""Pictures of sweeps and trials. No other room imports plotly or matplotlib."""
