"""Files written whole or not at all, where they lie, and a cache of tensors."""
