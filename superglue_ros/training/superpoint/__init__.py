"""SuperPoint's training: recipe, labels, losses, the task of a stage."""
