"""Fine-tuning: when layer groups open, how they learn, and how a run survives."""
