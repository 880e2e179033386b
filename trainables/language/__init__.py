"""What trainables need of a language model: models, prompts, masks, attention, title states."""
