"""Language models for trainables: models, prompts, masks, attention, title states."""
