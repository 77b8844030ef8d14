"""SuperGlue's training: recipe, samples, loss, the task of a stage."""
