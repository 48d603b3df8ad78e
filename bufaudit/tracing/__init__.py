"""A model on the meta device, and what becomes of its tensors on a load path. Needs torch."""
