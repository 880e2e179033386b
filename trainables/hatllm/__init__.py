"""HatLLM: hierarchical attention masks on a language model, and the methods beside it."""
